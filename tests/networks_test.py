"""One training step of ours held to the same network in PyTorch (fewshift.torch's): logits, loss, gradients and running
statistics in float64, where no ReLU takes the other side of its kink by rounding; and all but the gradients in float32,
which is the path of training.
usage: networks_test.py PROGRAM, which is what tests/gradients.cc makes.
"""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import torch
import torch.nn.functional as F
from torch import nn

sys.dont_write_bytecode = True  # the sources stay free of caches
from step_file import part, read_step

os.environ["FEWSHIFT_TORCH_BACKEND"] = "python"  # shifts that are not ours
from fewshift.torch import create_model

program = sys.argv.pop(1)
torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)

CLASSES = 5  # as tests/gradients.cc has them
CASES = [  # model, spatial operator, px
    ("shiftresnet20_e1", "ssl", 32),
    ("shiftresnet20_e1", "asl", 32),
    ("shiftresnet20_e1", "gsl", 32),
    ("shiftresnet20_e1", "random", 32),
    ("shiftresnet20_e1", "depthwise", 32),
    ("fenet_cifar_0.5", "ssl", 32),
    ("fenet_cifar_se_0.5", "asl", 32),
    ("fenet_0.5", "ssl", 64),
    ("resnet20", "ssl", 32),
    ("mobilenet_v2_0.5_cifar", "ssl", 32),
    ("mobilenetv4_conv_small_cifar", "ssl", 32),
    ("shufflenet_v2_0.5_cifar", "ssl", 32),
    ("shufflenet_v2_0.5", "ssl", 64),
    ("fasternet_t0", "ssl", 64),
]


def make_twin(model, shift):
    twin = create_model(model, CLASSES, shift)
    twin.classifier.dropout.p = 0  # as the step has it
    return twin


def error(ours, expected, scale=None):
    """The length of the difference in lengths of what was expected."""
    scale = expected if scale is None else scale
    return ((ours - expected).norm() / scale.norm()).item()


def gradient_errors(ours, expected):
    """By name. A bias whose batch norm leads to another one without a kink between has no gradient but for
    rounding, so a norm's bias is measured by the length of its scale's and its own gradient together."""
    errors = {}
    for name, gradient in expected.items():
        scale = gradient
        if name.endswith("norm.bias"):
            scale = torch.stack([gradient, expected[name.replace("bias", "weight")]])
        errors[name] = error(ours[name], gradient, scale)
    return errors


def statistics_error(ours, twin):
    """Of means in standard deviations of the batch, of variances in themselves."""
    errors = []
    for name, norm in twin.named_modules():
        if isinstance(norm, nn.BatchNorm2d):
            deviation = 0.1 * (10 * (norm.running_var - 0.9)).sqrt()
            errors += [
                error(ours[name + ".running_mean"], norm.running_mean, deviation),
                error(ours[name + ".running_var"], norm.running_var),
            ]
    return max(errors)


class Networks(unittest.TestCase):
    def our_step(self, *arguments):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "step.safetensors"
            subprocess.run([program, *map(str, arguments), file], check=True)
            return read_step(file)

    def compare(self, ours, twin, tolerance):
        parameters = part(ours, "parameter")
        self.assertEqual(set(parameters), {name for name, _ in twin.named_parameters()})
        twin.load_state_dict(parameters, strict=False)
        logits = twin(ours["input"].double())
        loss = F.cross_entropy(logits, ours["labels"])
        loss.backward()
        self.assertLess(error(ours["logits"], logits), tolerance)
        self.assertLess(error(ours["loss"], loss), tolerance)

        buffers = part(ours, "buffer")
        buffers = {name: value for name, value in buffers.items() if not name.endswith("shift.start")}
        self.assertEqual(set(buffers), {name for name, _ in twin.named_buffers()})
        self.assertLess(statistics_error(buffers, twin), tolerance)

    def compare_gradients(self, ours, twin, tolerance):
        gradients = part(ours, "gradient")
        expected = {name: p.grad for name, p in twin.named_parameters() if p.requires_grad}
        self.assertEqual(set(gradients), set(expected))
        errors = gradient_errors(gradients, expected)
        worst = max(errors, key=errors.get)
        self.assertLess(errors[worst], tolerance, worst)

    def test_twins(self):
        for model, shift, size in CASES:
            with self.subTest(f"{model} {shift}"):
                twin = make_twin(model, shift)
                ours = self.our_step(model, shift, size, "float64")
                self.compare(ours, twin, 1e-9)
                self.compare_gradients(ours, twin, 1e-8)
                self.compare(self.our_step(model, shift, size, "float32"), make_twin(model, shift), 1e-4)


if __name__ == "__main__":
    unittest.main()
