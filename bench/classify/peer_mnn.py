"""MNN, in float32 ("high" precision)."""
import subprocess
import sys
import tempfile
import time

import MNN
import MNN.expr
import MNN.nn
import numpy

from peer import serve


def make(model, batch, threads):
    with tempfile.TemporaryDirectory() as folder:
        file = folder + "/model.mnn"
        subprocess.run([sys.executable, "-m", "MNN.tools.mnnconvert", "-f", "ONNX", "--modelFile", model, "--MNNModel", file,
                        "--bizCode", "bench"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        began = time.perf_counter()
        runtime = MNN.nn.create_runtime_manager(({"backend": "CPU", "precision": "high", "numThread": threads},))
        net = MNN.nn.load_module_from_file(file, ["image"], ["logits"], runtime_manager=runtime)
    load = 1e3 * (time.perf_counter() - began)
    image = {}

    def run(x):
        if not image:
            image[0] = MNN.expr.const(numpy.ascontiguousarray(x), x.shape, MNN.expr.NCHW)
        return net.forward([image[0]])[0].read()

    return {"version": MNN.version(), "load_ms": load}, run


serve(make)
