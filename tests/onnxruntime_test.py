"""Exported files, by ONNX's own checker and in ONNX Runtime, beside our engine: equal to 1e-4 of the output's range.
usage: onnxruntime_test.py FEWSHIFT"""
import subprocess
import sys
import tempfile

import numpy
import onnx
import onnxruntime

fewshift = sys.argv[1]
CASES = [  # model, options of export, batches; every family, every spatial operator, odd sizes
    ("fenet_0.5", ["--size", "65"], (1, 8)),
    ("fenet_se_1.375", ["--size", "48"], (1,)),
    ("fenet_cifar_0.5", ["--shift", "asl"], (3,)),
    ("fenet_1.0", ["--size", "112", "--shift-sparsity", "0.7"], (1, 2)),
    ("shiftresnet20_e3", ["--shift", "gsl"], (2,)),
    ("shiftresnet20_e1", ["--size", "31", "--shift", "depthwise"], (5,)),
    ("shiftresnet20_e9", ["--shift", "random", "--size", "33"], (1,)),
    ("resnet20", ["--size", "27"], (4,)),
    ("mobilenet_v2_1.0", ["--size", "97"], (1, 2)),
    ("mobilenetv4_conv_small", ["--size", "95"], (2,)),
    ("shufflenet_v2_1.0", ["--size", "63"], (1, 3)),
    ("fasternet_t0", ["--size", "65"], (2,)),
]


def check(model, options, batches, folder):
    file, source, target = (f"{folder}/{name}" for name in ("model.onnx", "x.npy", "y.npy"))
    subprocess.run([fewshift, "export", "--model", model, *options, "--out", file], check=True, stdout=subprocess.DEVNULL)
    onnx.checker.check_model(onnx.load(file), full_check=True)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    image = session.get_inputs()[0]
    for batch in batches:
        x = numpy.random.default_rng(batch).standard_normal((batch, *image.shape[1:]), dtype=numpy.float32)
        theirs = session.run(None, {image.name: x})[0]
        numpy.save(source, x)
        for threads in ("1", "2"):
            subprocess.run([fewshift, "run", file, "--input", source, "--output", target, "--threads", threads], check=True,
                           stdout=subprocess.DEVNULL)
            apart = numpy.abs(numpy.load(target) - theirs).max() / numpy.ptp(theirs)
            print(f"{model} {' '.join(options)} batch {batch} threads {threads}: {apart:.1e}")
            assert apart < 1e-4


with tempfile.TemporaryDirectory() as folder:
    for case in CASES:
        check(*case, folder)
