"""The loader beside PyTorch's DataLoader: images/s from JPEG files to normalised batches, one worker a core, taking turns.

  bench.py FEWSHIFT DIR OUT.json [--size 224] [--workers 1] [--rounds 5] [--pictures 2000] [--scale-min 0.08]

Prints the medians and their ratio. Run it with a Python that has torch, numpy and Pillow. SPDX-License-Identifier: Apache-2.0
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("data")
    parser.add_argument("out")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--scale-min", type=float, default=0.08)
    o = parser.parse_args()
    peer = pathlib.Path(__file__).with_name("peer_torch.py")
    figures = {"fewshift": [], "DataLoader": []}
    for _ in range(o.rounds):
        ours = subprocess.run([o.program, "bench", "--data", o.data, "--size", str(o.size), "--threads", str(o.workers),
                               "--scale-min", str(o.scale_min), "--batch", "64", "--json"],
                              check=True, capture_output=True, text=True)
        figures["fewshift"].append(json.loads(ours.stdout)["loader_images_per_s"])
        theirs = subprocess.run([sys.executable, str(peer), o.data, str(o.size), str(o.workers), "64", str(o.pictures),
                                 str(o.scale_min)], check=True, capture_output=True, text=True)
        figures["DataLoader"].append(float(theirs.stdout))
    medians = {name: statistics.median(values) for name, values in figures.items()}
    for name, values in figures.items():
        print(f"{name:12} {medians[name]:8.0f} images/s with {o.workers} workers   ({min(values):.0f} to {max(values):.0f})")
    print(f"{'ratio':12} {medians['fewshift'] / medians['DataLoader']:8.2f}")
    pathlib.Path(o.out).write_text(json.dumps({**vars(o), "figures": figures, "medians": medians}, indent=1))


if __name__ == "__main__":
    main()
