"""One training step of ours held to the same network in PyTorch (networks_twin.py): logits, loss, gradients and running
statistics in float64, where no ReLU takes the other side of its kink by rounding; and all but the gradients in float32,
which is the path of training.
usage: networks_test.py PROGRAM, which is what tests/gradients.cc makes.
"""
import pathlib
import subprocess
import sys
import tempfile
import unittest

import torch
import torch.nn.functional as F
from torch import nn

sys.dont_write_bytecode = True  # the sources stay free of caches
from networks_twin import (
    fasternet_t0,
    fenet,
    mobilenet_v2_half_cifar,
    mobilenetv4_small_cifar,
    part,
    read_safetensors,
    resnet20,
    shiftresnet20,
    shufflenet_v2_half,
)

program = sys.argv.pop(1)
torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)

TWINS = {
    ("shiftresnet20_e1", "ssl", 32): lambda: shiftresnet20("ssl", 1),
    ("shiftresnet20_e1", "asl", 32): lambda: shiftresnet20("asl", 1),
    ("shiftresnet20_e1", "gsl", 32): lambda: shiftresnet20("gsl", 1),
    ("shiftresnet20_e1", "random", 32): lambda: shiftresnet20("random", 1),
    ("shiftresnet20_e1", "depthwise", 32): lambda: shiftresnet20("depthwise", 1),
    ("fenet_cifar_0.5", "ssl", 32): lambda: fenet("ssl", 8, 1024, cifar=True),
    ("fenet_cifar_se_0.5", "asl", 32): lambda: fenet("asl", 8, 1024, squeeze=True, cifar=True),
    ("fenet_0.5", "ssl", 64): lambda: fenet("ssl", 8, 1024),
    ("resnet20", "ssl", 32): resnet20,
    ("mobilenet_v2_0.5_cifar", "ssl", 32): mobilenet_v2_half_cifar,
    ("mobilenetv4_conv_small_cifar", "ssl", 32): mobilenetv4_small_cifar,
    ("shufflenet_v2_0.5_cifar", "ssl", 32): lambda: shufflenet_v2_half(True),
    ("shufflenet_v2_0.5", "ssl", 64): lambda: shufflenet_v2_half(False),
    ("fasternet_t0", "ssl", 64): fasternet_t0,
}


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
            return read_safetensors(file)

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
        for key, make in TWINS.items():
            with self.subTest(key):
                twin = make()
                ours = self.our_step(*key, "float64")
                self.compare(ours, twin, 1e-9)
                self.compare_gradients(ours, twin, 1e-8)
                self.compare(self.our_step(*key, "float32"), make(), 1e-4)


if __name__ == "__main__":
    unittest.main()
