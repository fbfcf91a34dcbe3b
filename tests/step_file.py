"""What tests/gradients.cc writes: a training step's input, labels, logits, loss, and tensors by kind.

Importing it makes the package of bindings/python importable."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "bindings" / "python"))
from fewshift.torch.safetensors import read_safetensors


def read_step(path):
    return read_safetensors(path)[0]


def part(tensors, kind):
    """Of a kind ("parameter", "buffer", "gradient"), by name."""
    return {name.partition(".")[2]: t for name, t in tensors.items() if name.startswith(kind + ".")}
