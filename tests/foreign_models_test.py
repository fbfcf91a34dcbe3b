"""Networks that PyTorch's two exporters write, in ONNX Runtime, beside our engine: equal to 1e-4 of the output's range.
Graphs that compute on constants likewise. Then graphs that the engine must refuse in one line.
usage: foreign_models_test.py FEWSHIFT [NAME | constants | refusals]..."""
import contextlib
import io
import logging
import subprocess
import sys
import tempfile
import warnings
from collections import namedtuple

import numpy
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper

import foreign_constants
from foreign_models import MODELS, build, images

# exporter: script (TorchScript's) or dynamo; unfolded: its batch norms stand as they are, as in a model kept trainable
Case = namedtuple("Case", "name exporter opset size symbolic unfolded", defaults=(True, False))
# as another's graph, there
SAME_IN_DYNAMO = ("timm_mobilenetv2", "timm_mnasnet", "timm_efficientnet_b0", "timm_tf_efficientnet_lite0")
EVERY_OPSET = ("tv_shufflenet_v2", "timm_tf_efficientnet_lite0", "slices", "means")


def cases(name):
    """Opsets, a static batch and unfolded norms, spread over the models."""
    k, (first, second, third) = list(MODELS).index(name), MODELS[name][1]
    yield Case(name, "script", (11, 13, 17)[k % 3], first, symbolic=k % 7 != 6)
    yield Case(name, "script", (13, 17, 11)[k % 3], second, symbolic=k % 4 != 1, unfolded=k % 2 == 0)
    if name in SAME_IN_DYNAMO:
        yield Case(name, "script", (17, 11, 13)[k % 3], third)
    else:
        yield Case(name, "dynamo", (18, 20, 21, 19)[k % 4], third, symbolic=k % 5 != 3)
    if name in EVERY_OPSET:
        for opset in range(11, 18):
            yield Case(name, "script", opset, third)


def export(model, case, file):
    x = images(2, 2 if case.symbolic else 1, case.size)
    options = {"opset_version": case.opset, "input_names": ["image"], "output_names": ["logits"], "verbose": False}
    if case.exporter == "script":
        options["training"] = torch.onnx.TrainingMode.PRESERVE if case.unfolded else torch.onnx.TrainingMode.EVAL
        if case.symbolic:
            options["dynamic_axes"] = {"image": {0: "batch"}, "logits": {0: "batch"}}
    elif case.symbolic:
        options["dynamic_shapes"] = ({0: torch.export.Dim("batch")},)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        torch.onnx.export(model, (x,), file, dynamo=case.exporter == "dynamo", external_data=False, **options)


def unknown_to_opset(error):
    return isinstance(error, torch.onnx.errors.OnnxExporterError) and "opset" in str(error)


def engine(fewshift, file, source, target, threads=1):
    command = [fewshift, "run", file, "--input", source, "--output", target, "--threads", str(threads)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def threads_of(case, batch):
    """Not every count with every batch in every case: the program takes a while to start."""
    return (1 + (case.opset + batch // 3) % 2,) if case.symbolic else (1, 2)


def compare(fewshift, file, case, folder):
    """Yields what went wrong."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    source, target = f"{folder}/x.npy", f"{folder}/y.npy"
    for batch in (1, 3) if case.symbolic else (1,):
        x = images(10 + batch, batch, case.size).numpy()
        theirs = session.run(None, {"image": x})[0]
        numpy.save(source, x)
        for threads in threads_of(case, batch):
            ran = engine(fewshift, file, source, target, threads)
            if ran.returncode != 0:
                yield ran.stderr.strip().replace(file, "")
                return
            ours = numpy.load(target)
            shaped = ours.shape == theirs.shape
            apart = numpy.abs(ours - theirs).max() / numpy.ptp(theirs) if shaped else numpy.inf
            print(f"{label(case)} batch {batch} threads {threads}: {apart:.1e}")
            if not apart <= 1e-4:
                yield f"batch {batch} threads {threads}: {apart:.1e} apart, {ours.shape} for {theirs.shape}"


def label(case):
    marks = ("" if case.symbolic else " static") + (" unfolded" if case.unfolded else "")
    return f"{case.name} {case.exporter} opset {case.opset} {case.size} px{marks}"


def check(fewshift, case, folder):
    """Yields a line for each fault."""
    file = f"{folder}/model.onnx"
    try:
        export(build(case.name, case.size), case, file)
    except Exception as error:
        told = f"{label(case)}: the exporter: {str(error).splitlines()[0]}"
        if not unknown_to_opset(error):
            yield told
        return print(told, "(skipped)")
    for fault in compare(fewshift, file, case, folder):
        print(f"{label(case)}: {fault}")
        yield f"{label(case)}: {fault}"


# Graphs to refuse: one node, named culprit, behind a node that can be read.


def weights(name, *shape):
    return helper.make_tensor(name, TensorProto.FLOAT, shape, numpy.full(shape, 0.1, "float32").ravel())


def numbers(name, values, kind=TensorProto.INT64):
    return helper.make_tensor(name, kind, [len(values)], values)


def refused():
    """name -> operator, its inputs beside x, its attributes, and x's shape"""
    image, series = (1, 4, 8, 8), (1, 4, 8)
    lstm = [weights("w", 1, 20, 8), weights("r", 1, 20, 5)]
    scales = numbers("s", [1.0, 1.0, 2.0, 2.0], TensorProto.FLOAT)
    margins = numbers("p", [0, 0, 1, 1, 0, 0, 1, 1])
    return {
        "LSTM": ("LSTM", lstm, {"hidden_size": 5}, series),
        "convolution over a series": ("Conv", [weights("w", 6, 4, 3)], {"kernel_shape": [3]}, series),
        "convolution over a volume": ("Conv", [weights("w", 6, 4, 1, 1, 1)], {}, (1, 4, 2, 8, 8)),
        "transposed convolution": ("ConvTranspose", [weights("w", 4, 6, 2, 2)], {"strides": [2, 2]}, image),
        "a domain of its own": ("Swirl", [], {"domain": "example.org"}, image),
        "resize": ("Resize", ["", scales], {"mode": "nearest"}, image),
        "reflected pads": ("Pad", [margins], {"mode": "reflect"}, image),
        "pool by the root of squares": ("LpPool", [], {"kernel_shape": [2, 2]}, image),
        "instance norm": ("InstanceNormalization", [weights("w", 4), weights("b", 4)], {}, image),
        "order of channels": ("TopK", [numbers("k", [2])], {"axis": 1}, image),
        "depth to space": ("DepthToSpace", [], {"blocksize": 2}, image),
        "a product of two maps": ("MatMul", ["x"], {}, image),
    }


def write_refused(file, operator, beside, attributes, shape):
    given = [tensor if isinstance(tensor, str) else tensor.name for tensor in beside]
    nodes = [
        helper.make_node("Relu", ["image"], ["x"], "fine"),
        helper.make_node(operator, ["x", *given], ["y"], "culprit", **attributes),
    ]
    values = [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)]
    results = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    tensors = [tensor for tensor in beside if not isinstance(tensor, str)]
    graph = helper.make_graph(nodes, "refused", values, results, tensors)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("example.org", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), file)


def check_refusals(fewshift, folder):
    file, source, target = (f"{folder}/{name}" for name in ("refused.onnx", "x.npy", "y.npy"))
    for name, (operator, beside, attributes, shape) in refused().items():
        write_refused(file, operator, beside, attributes, shape)
        numpy.save(source, numpy.ones(shape, "float32"))
        ran = engine(fewshift, file, source, target)
        told = ran.stderr.splitlines()
        good = ran.returncode == 1 and len(told) == 1 and "culprit" in told[0]
        print(f"refusal of {name}: {ran.stderr.strip().replace(folder, '')}")
        if not good:
            yield f"refusal of {name}: exit {ran.returncode}, {ran.stderr.strip().replace(folder, '')!r}"


def check_constants(fewshift, folder):
    file, source, target = (f"{folder}/{name}" for name in ("constants.onnx", "x.npy", "y.npy"))
    for name, make in foreign_constants.CONSTANTS.items():
        nodes, constants, shape = make()
        foreign_constants.write(file, nodes, constants, shape)
        x = numpy.random.default_rng(1).standard_normal(shape, "float32")
        theirs = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]).run(None, {"image": x})[0]
        numpy.save(source, x)
        ran = engine(fewshift, file, source, target)
        if ran.returncode != 0:
            yield f"{name}: {ran.stderr.strip().replace(folder, '')}"
            continue
        ours = numpy.load(target)
        apart = numpy.abs(ours - theirs).max() / numpy.ptp(theirs) if ours.shape == theirs.shape else numpy.inf
        print(f"{name}: {apart:.1e}")
        if not apart <= 1e-5:
            yield f"{name}: {apart:.1e} apart, {ours.shape} for {theirs.shape}"


def main(fewshift, *names):
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    onnxruntime.set_default_logger_severity(3)
    torch.set_num_threads(1)  # so small are they
    unknown = set(names) - {*MODELS, "constants", "refusals"}
    if unknown:
        sys.exit(f"no model is named {' '.join(sorted(unknown))}; there are {' '.join(MODELS)} constants refusals")
    faults = []
    with tempfile.TemporaryDirectory() as folder:
        for name in MODELS:
            for case in cases(name) if not names or name in names else ():
                faults += check(fewshift, case, folder)
        if not names or "constants" in names:
            faults += check_constants(fewshift, folder)
        if not names or "refusals" in names:
            faults += check_refusals(fewshift, folder)
    print(f"\n{len(faults)} faults", *faults, sep="\n")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main(*sys.argv[1:])
