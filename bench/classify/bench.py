"""Classifiers at 224 px, ours and the peers' side by side: every peer loads each model in a process of its own, shows that its
results are the others', and then all take turns. usage: bench.py BUILD OUT.json [MODEL|FILE.onnx...]; see scripts/bench."""
import argparse
import json
import os
import statistics
import subprocess
import sys

import numpy

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
sys.dont_write_bytecode = True  # the sources stay free of caches
from process import Process

MODELS = ["fenet_1.0", "mobilenet_v2_1.0", "mobilenetv4_conv_small", "shufflenet_v2_1.0", "fasternet_t0"]


class Peer(Process):
    def __init__(self, name, command, model, batch, threads, x, folder):
        self.name, self.threads, self.seconds = name, threads, []
        output = f"{folder}/{name}.npy"
        try:
            super().__init__(command + [model, str(batch), str(threads), x, output])
        except RuntimeError as error:
            raise RuntimeError(f"{name} does not take {os.path.basename(model)}: {error}")
        self.output = numpy.load(output)

    def take_turn(self, runs):
        answer = self.ask(runs)
        self.seconds += answer["seconds"]
        self.memory_mb = answer["memory_mb"]

    def check_threads(self):
        """No more processor time than the threads named can have spent."""
        before = self.ask(1)["cpu"]
        answer = self.ask(5)
        busy = (answer["cpu"] - before) / sum(answer["seconds"])
        assert busy < self.threads + 0.35, f"{self.name} kept {busy:.2f} cores busy, not {self.threads}"


def command(build, name):
    return [f"{build}/bench/ours"] if name == "ours" else [sys.executable, f"{HERE}/peer_{name}.py"]


def measure(options, entries, batch, threads):
    """entries: pairs of peer and model, which take turns. Who computes the same model must come to the same."""
    x = f"{options.folder}/x{batch}.npy"
    numpy.save(x, numpy.random.default_rng(0).standard_normal((batch, 3, 224, 224), dtype=numpy.float32))
    peers, references = [], {}
    for name, model in entries:
        file = model if model.endswith(".onnx") else f"{options.folder}/{model}.onnx"
        try:
            peer = Peer(name, command(options.build, name), file, batch, threads, x, options.folder)
        except RuntimeError as error:
            print(f"  {error}", file=sys.stderr)
            continue
        peer.model = model
        reference = references.setdefault(model, peer.output)
        apart = numpy.abs(peer.output.reshape(reference.shape) - reference).max() / numpy.ptp(reference)
        assert apart < 1e-3, f"{name} computes something else: {apart:.2g} of the range"
        peer.about["apart"] = float(apart)
        peers.append(peer)
    for peer in peers:
        peer.check_threads()
        peer.ask(3)
    for _ in range(options.rounds):
        for peer in peers:
            peer.take_turn(options.runs)
    rows = []
    for peer in peers:
        rows.append({"model": peer.model, "batch": batch, "threads": threads, "peer": peer.name,
                     "median_ms": 1e3 * statistics.median(peer.seconds), "min_ms": 1e3 * min(peer.seconds),
                     "rounds_ms": [1e3 * statistics.median(peer.seconds[k:k + options.runs])
                                   for k in range(0, len(peer.seconds), options.runs)],
                     "memory_mb": peer.memory_mb, **peer.about})
        peer.close()
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build")
    parser.add_argument("out")
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--folder", default="build/bench")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--peers", nargs="+", default=["ours", "onnxruntime", "openvino", "ncnn", "mnn"])
    parser.add_argument("--rounds", type=int, default=9, help="turns of each peer")
    parser.add_argument("--runs", type=int, default=10, help="runs a turn")
    parser.add_argument("--against", help="a model that the peers compute instead of ours: their network beside it")
    options = parser.parse_args()
    os.makedirs(options.folder, exist_ok=True)
    ours = [model for model in options.models if not model.endswith(".onnx")]
    for model in ours + ([options.against] if options.against else []):
        subprocess.run([f"{options.build}/fewshift", "export", "--model", model, "--shift-sparsity", "0.7", "--out",
                        f"{options.folder}/{model}.onnx"], check=True, stdout=subprocess.DEVNULL)
    rows = []
    if options.against:
        print(f"ours computes the model named, the peers {options.against}")
    print(f"{'model':24}{'batch':>6}{'threads':>8}  " + "".join(f"{p:>14}" for p in options.peers) + "   median ms, and ours over it")
    for model in options.models:
        for batch in options.batches:
            for threads in options.threads:
                entries = [(p, options.against if options.against and p != "ours" else model) for p in options.peers]
                new = {row["peer"]: row for row in measure(options, entries, batch, threads)}
                cells = [f"{new[p]['median_ms']:8.2f}" + (f" {new['ours']['median_ms'] / new[p]['median_ms']:5.2f}"
                                                           if p != "ours" and "ours" in new else "")
                         if p in new else "-" for p in options.peers]
                print(f"{os.path.basename(model).removesuffix('.onnx'):24}{batch:6}{threads:8}  " + "".join(f"{c:>14}" for c in cells), flush=True)
                rows += new.values()
    with open(options.out, "w") as out:
        json.dump(rows, out, indent=1)


main()
