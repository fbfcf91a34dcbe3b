"""Runs under torchrun with a process killed (-9) at a random moment, again and again, beside undisturbed ones.

  build/venv/bin/python experiments/kills.py DATA [RUNS] [FEWSHIFT]     20 runs of build/release/fewshift

DATA: a folder of labelled pictures. Each run has a seed of its own, is killed once or twice, one of its two processes each time,
and is compared with the same seed undisturbed. Prints a line a run and a summary. SPDX-License-Identifier: Apache-2.0
"""
import argparse
import json
import os
import pathlib
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("data")
parser.add_argument("runs", type=int, nargs="?", default=20)
parser.add_argument("fewshift", nargs="?", default="build/release/fewshift")
DATA, RUNS, FEWSHIFT = vars(parser.parse_args()).values()
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}


def start(out, seed):
    return subprocess.Popen(
        [str(pathlib.Path(sys.executable).parent / "torchrun"), "--standalone", "--no-python", "--nproc-per-node", "2",
         "--max-restarts", "5", FEWSHIFT, "train", "--model", "shiftresnet20_e3", "--size", "32", "--data", DATA, "--out", str(out),
         "--epochs", "6", "--batch", "50", "--seed", str(seed), "--threads", "1", "--lr", "0.05"],
        env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=open(f"{out}.log", "w"))


def workers(launcher):
    children = subprocess.run(["pgrep", "-P", str(launcher.pid)], capture_output=True, text=True).stdout.split()
    found = []
    for child in children:
        try:
            if b"\0train\0" in pathlib.Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(int(child))
        except FileNotFoundError:
            pass
    return found


def top1(out):
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, 7)), out
    return 100 * lines[-1]["val_top1"]


def main():
    chance = random.Random(1)
    pairs, killed, same = [], 0, 0
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(RUNS):
            whole, disturbed = pathlib.Path(folder) / f"whole{seed}", pathlib.Path(folder) / f"killed{seed}"
            began = time.monotonic()
            assert start(whole, seed).wait() == 0
            length = time.monotonic() - began
            launcher = start(disturbed, seed)
            kills = []
            for k in range(chance.choice((1, 1, 2))):
                time.sleep(chance.uniform(0.5, 0.9 * length) if k == 0 else chance.uniform(2, length / 2))
                while launcher.poll() is None and not (found := workers(launcher)):
                    time.sleep(0.05)
                if launcher.poll() is None:
                    os.kill(chance.choice(found), signal.SIGKILL)
                    lines = disturbed / "metrics.jsonl"
                    kills.append(lines.read_text().count("\n") + 1 if lines.exists() else 1)
            code = launcher.wait(600)
            assert code == 0, open(f"{disturbed}.log").read()
            killed += len(kills)
            equal = (whole / "last.safetensors").read_bytes() == (disturbed / "last.safetensors").read_bytes()
            same += equal
            pairs.append((top1(whole), top1(disturbed)))
            print(f"seed {seed}: killed in epoch {kills}, top-1 {pairs[-1][1]:.1f}%, undisturbed {pairs[-1][0]:.1f}%, weights",
                  "the same" if equal else "not the same", flush=True)
    for name, values in zip(("undisturbed", "killed"), zip(*pairs)):
        print(f"{name}: mean top-1 {statistics.mean(values):.2f}%, from {min(values):.1f} to {max(values):.1f}%")
    print(f"{RUNS} runs, {killed} kills, all ended; {same} with the weights of the undisturbed run, bit for bit")


if __name__ == "__main__":
    main()
