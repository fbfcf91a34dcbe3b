"""Training on a GPU beside the CPU: the same first losses, in float32 and, nearly, in bfloat16; resumed on the other one.

    python3 tests/cuda_train_test.py build/cuda/fewshift [DATA]     DATA: sample/clothing

Prints images/s. A GPU, and the libraries of its LibTorch, must be there. SPDX-License-Identifier: Apache-2.0
"""
import json
import pathlib
import subprocess
import sys
import tempfile

PROGRAM = sys.argv[1]
DATA = sys.argv[2] if len(sys.argv) > 2 else "sample/clothing"


def train(out, *options):
    subprocess.run([PROGRAM, "train", "--out", str(out), *options], check=True, stderr=subprocess.PIPE, text=True)
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for model, size in ("fenet_0.5", "64"), ("fenet_0.5", "96"), ("shiftresnet20_e3", "32"):
            common = ["--model", model, "--size", size, "--data", DATA, "--epochs", "2", "--batch", "32", "--seed", "1",
                      "--set", "train.learning_rate=0.002", "--set", "train.fused=off"]
            runs = {name: train(folder / f"{model}{size}{name}", *common, *options) for name, options in (
                ("cpu", ["--device", "cpu"]), ("cuda", ["--device", "cuda"]), ("bf16", ["--device", "cuda", "--precision", "bf16"]))}
            losses = {name: epochs[0]["train_loss"] for name, epochs in runs.items()}
            print(f"{model} at {size} px: first epoch's loss", *(f"{name} {loss:.4f}" for name, loss in losses.items()), " images/s",
                  *(f"{name} {epochs[-1]['images_per_s']:.0f}" for name, epochs in runs.items()))
            assert abs(losses["cuda"] - losses["cpu"]) < 0.02 * losses["cpu"], losses
            assert abs(losses["bf16"] - losses["cpu"]) < 0.05 * losses["cpu"], losses
        subprocess.run([PROGRAM, "eval", str(folder / "fenet_0.564cuda"), "--data", DATA], check=True)
    print("training on the GPU: as on the CPU")


if __name__ == "__main__":
    main()
