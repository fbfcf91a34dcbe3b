"""What the peers written in Python share: the dialogue with bench.py.

A peer is started with MODEL BATCH THREADS INPUT.npy OUTPUT.npy. It loads the model, writes the output for the input and says
"ready" with what it is as JSON; then for each line "run K" it runs K times and prints the seconds each took."""
import json
import sys
import time

import numpy


def serve(make):
    """make(model, batch, threads) -> (about, run); run(x) -> y, arrays [N,...]."""
    model, batch, threads, source, target = sys.argv[1:6]
    began = time.perf_counter()
    about, run = make(model, int(batch), int(threads))
    about.setdefault("load_ms", 1e3 * (time.perf_counter() - began))
    x = numpy.load(source)
    numpy.save(target, numpy.asarray(run(x), dtype=numpy.float32))
    print("ready", json.dumps(about), flush=True)
    for line in sys.stdin:
        seconds = []
        for _ in range(int(line.split()[1])):
            start = time.perf_counter()
            run(x)
            seconds.append(time.perf_counter() - start)
        with open("/proc/self/status") as status:
            memory = next(int(l.split()[1]) for l in status if l.startswith("VmHWM"))
        print(json.dumps({"seconds": seconds, "cpu": time.process_time(), "memory_mb": memory / 1024}), flush=True)
