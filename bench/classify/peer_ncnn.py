"""ncnn, in float32; it takes pictures one by one. pnnx makes its files from ours."""
import os
import shutil
import subprocess
import sys
import tempfile
import time

import ncnn
import numpy

from peer import serve


def make(model, batch, threads):
    pnnx = os.path.join(next(p for p in sys.path if os.path.isdir(os.path.join(p, "pnnx"))), "pnnx", "pnnx")
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(model, folder + "/model.onnx")
        shape = numpy.load(sys.argv[4], mmap_mode="r").shape
        subprocess.run([pnnx, "model.onnx", f"inputshape=[1,{shape[1]},{shape[2]},{shape[3]}]f32", "fp16=0"], cwd=folder,
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        began = time.perf_counter()
        net = ncnn.Net()
        net.opt.num_threads = threads
        net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
        net.opt.use_bf16_storage = False
        assert net.opt.num_threads == threads and not net.opt.use_bf16_storage and not net.opt.use_fp16_storage
        assert net.load_param(folder + "/model.ncnn.param") == 0 and net.load_model(folder + "/model.ncnn.bin") == 0

    load = 1e3 * (time.perf_counter() - began)

    def one(picture):
        extractor = net.create_extractor()
        extractor.input("in0", ncnn.Mat(picture))
        return numpy.array(extractor.extract("out0")[1])

    return {"version": ncnn.__version__, "load_ms": load}, lambda x: numpy.stack([one(picture) for picture in x])


serve(make)
