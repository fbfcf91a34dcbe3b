"""Every network of `fewshift models`, in PyTorch: each family a function, each name a row of the registry.
SPDX-License-Identifier: Apache-2.0"""
from __future__ import annotations

import difflib
import math
from functools import partial
from typing import Any, Callable, Iterable

from torch import Tensor, nn

from .units import (
    SPATIAL,
    BasicBlock,
    Classifier,
    ConvNorm,
    PartialBlock,
    ShiftBottleneck,
    ShuffleUnit,
    UniversalBottleneck,
)


class Network(nn.Module):
    """[N,3,H,W] -> [N,classes], logits. Made for `input_size` px; others work too.

    load() also says what the checkpoint does: class_names; preprocess (size and resize, px; mean and std, of RGB from 0
    to 1; interpolation; decode); info, the rest of its metadata (epoch, val_top1, seed, ...)."""

    def __init__(self, stem: nn.Module, units: Iterable[nn.Module], classifier: Classifier) -> None:
        super().__init__()
        self.stem, self.units, self.classifier = stem, nn.ModuleList(units), classifier
        self.name, self.shift, self.input_size = "", "", 0
        self.class_names: list[str] = []
        self.preprocess: dict[str, Any] = {}
        self.info: dict[str, str] = {}

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for unit in self.units:
            x = unit(x)
        return self.classifier(x)


# In each family, small: for 32 px.


def _fenet(classes: int, shift: str, width: float, head: int, squeeze: bool, small: bool, released: bool) -> Network:
    """FE-Net ("All You Need is a Few Shifts"). released: as in the authors' code, where output channels expand."""
    p, reduction = int(16 * width), 8 if squeeze else 0

    def unit(spatial: str, inputs: int, t: int, outputs: int) -> ShiftBottleneck:
        hidden = t * (outputs if released else inputs)
        return ShiftBottleneck(spatial, inputs, hidden, outputs, squeeze=reduction)

    units = [unit(shift, p, 4, p), unit(shift if small else "pool", p, 5, 2 * p)]
    blocks = [(3, 2, 4, "pool"), (4, 4, 8, "pool"), (4, 8, 8, shift), (4, 8, 16, "pool"), (3, 16, 16, shift)]
    for length, inputs, outputs, last in blocks:
        for halvings in range(length - 1, 0, -1):  # more channels unit by unit: the last eighth, quarter, half
            part = inputs * p >> halvings
            units.append(ShiftBottleneck(shift, part, 6 * part, part, shortcut="identity", squeeze=reduction))
        units.append(unit(last, inputs * p, 6, outputs * p))
    top = ConvNorm(16 * p, head, act=nn.ReLU)
    return Network(ConvNorm(3, p, 3, 1 if small else 2), units, Classifier(head, classes, top, dropout=0.2))


def _stages(depth: int) -> list[tuple[int, int]]:
    """The inputs and outputs of a ResNet's units for 32 px."""
    outputs = [width for width in (16, 32, 64) for _ in range((depth - 2) // 6)]
    return list(zip([16] + outputs, outputs))


def _shiftresnet(classes: int, shift: str, depth: int, expansion: int) -> Network:
    """ShiftResNet ("Shift: A Zero FLOP, Zero Parameter Alternative")."""
    units = [
        ShiftBottleneck(shift, i, expansion * o, o, *((1, "identity") if i == o else (2, "projection")))
        for i, o in _stages(depth)
    ]
    return Network(ConvNorm(3, 16, 3, act=nn.ReLU), units, Classifier(64, classes, nn.ReLU()))


def _resnet(classes: int, shift: str, depth: int) -> Network:
    """ResNet ("Deep Residual Learning for Image Recognition"), shortcuts without parameters."""
    units = [BasicBlock(*stage) for stage in _stages(depth)]
    return Network(ConvNorm(3, 16, 3, act=nn.ReLU), units, Classifier(64, classes, nn.ReLU()))


def _round_to_8(channels: float) -> int:
    """The nearest multiple of 8, at least 8, and not below nine tenths of it."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def _mobilenet_v2(classes: int, shift: str, width: float, small: bool) -> Network:
    """MobileNetV2 ("Inverted Residuals and Linear Bottlenecks")."""
    act, first = nn.ReLU6, 1 if small else 2
    stages = [(1, 16, 1, 1), (6, 24, 2, first), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1)]
    inputs = _round_to_8(32 * width)
    stem, units = ConvNorm(3, inputs, 3, first, act), []
    for expansion, channels, repeats, stride in stages + [(6, 160, 3, 2), (6, 320, 1, 1)]:
        outputs = _round_to_8(channels * width)
        for k in range(repeats):
            units.append(UniversalBottleneck(inputs, outputs, expansion, 0, 3, 1 if k else stride, act))
            inputs = outputs
    head = _round_to_8(1280 * max(1.0, width))
    return Network(stem, units, Classifier(head, classes, ConvNorm(inputs, head, act=act), dropout=0.2))


def _mobilenetv4_conv_small(classes: int, shift: str, small: bool) -> Network:
    """MobileNetV4-Conv-Small ("Universal Models for the Mobile Ecosystem")."""
    act, first = nn.ReLU, 1 if small else 2
    convolutions = [(32, 32, 3, first), (32, 32, 1, 1), (32, 96, 3, 2), (96, 64, 1, 1)]
    units: list[nn.Module] = [ConvNorm(*row, act) for row in convolutions]
    rows = [(64, 96, 3, 5, 5, 2)] + 4 * [(96, 96, 2, 0, 3, 1)] + [(96, 96, 4, 3, 0, 1)]
    rows += [(96, 128, 6, 3, 3, 2), (128, 128, 4, 5, 5, 1), (128, 128, 4, 0, 5, 1), (128, 128, 3, 0, 5, 1)]
    units += [UniversalBottleneck(*row, act) for row in rows + 2 * [(128, 128, 4, 0, 3, 1)]]
    top, pooled = ConvNorm(128, 960, act=act), ConvNorm(960, 1280, act=act)
    return Network(ConvNorm(3, 32, 3, first, act), units, Classifier(1280, classes, top, pooled, 0.2))


def _shufflenet_v2(classes: int, shift: str, channels: tuple[int, ...], small: bool) -> Network:
    """ShuffleNetV2 ("Practical Guidelines for Efficient CNN Architecture Design")."""
    units: list[nn.Module] = [] if small else [nn.MaxPool2d(3, 2, 1)]
    inputs = 24
    for outputs, repeats in zip(channels, (4, 8, 4)):
        for k in range(repeats):
            units.append(ShuffleUnit(inputs, outputs, 1 if k else 2))
            inputs = outputs
    top = ConvNorm(inputs, channels[3], act=nn.ReLU)
    stem = ConvNorm(3, 24, 3, 1 if small else 2, nn.ReLU)
    return Network(stem, units, Classifier(channels[3], classes, top))


def _fasternet_t0(classes: int, shift: str) -> Network:
    """FasterNet-T0 ("Run, Don't Walk")."""
    units: list[nn.Module] = []
    for channels, repeats in ((40, 1), (80, 2), (160, 8), (320, 2)):
        if units:
            units.append(ConvNorm(channels // 2, channels, 2, 2, padding=0))
        units += [PartialBlock(channels) for _ in range(repeats)]
    pooled = nn.Sequential()
    pooled.add_module("conv", nn.Conv2d(320, 1280, 1, bias=False))
    pooled.add_module("act", nn.GELU())
    return Network(ConvNorm(3, 40, 4, 4, padding=0), units, Classifier(1280, classes, nn.Identity(), pooled))


Make = Callable[[int, str], Network]


def _registry() -> dict[str, tuple[int, Make]]:
    """By name: the input, px, and how it is made."""
    rows: dict[str, tuple[int, Make]] = {}
    for name, width, head in (("0.5", 0.5, 1024), ("0.75", 0.75, 1280), ("1.0", 1.0, 1536), ("1.375", 1.375, 1932)):
        for kind, squeeze, small in (("", 0, 0), ("se_", 1, 0), ("cifar_", 0, 1), ("cifar_se_", 1, 1)):
            make = partial(_fenet, width=width, head=head, squeeze=bool(squeeze), small=bool(small), released=False)
            rows[f"fenet_{kind}{name}"] = (32 if small else 224, make)
        if width >= 1:
            make = partial(_fenet, width=width, head=1932, squeeze=False, small=False, released=True)
            rows[f"fenet_{name}_released"] = (224, make)
    for depth in (20, 56, 110):
        for expansion in (1, 3, 6, 9):
            make = partial(_shiftresnet, depth=depth, expansion=expansion)
            rows[f"shiftresnet{depth}_e{expansion}"] = (32, make)
        rows[f"resnet{depth}"] = (32, partial(_resnet, depth=depth))
    shuffles = {"0.5": (48, 96, 192, 1024), "1.0": (116, 232, 464, 1024), "1.5": (176, 352, 704, 1024),
                "2.0": (244, 488, 976, 2048)}  # fmt: skip
    for small, size, tail in ((False, 224, ""), (True, 32, "_cifar")):
        for width in (0.5, 0.75, 1.0, 1.4):
            rows[f"mobilenet_v2_{width}{tail}"] = (size, partial(_mobilenet_v2, width=width, small=small))
        rows[f"mobilenetv4_conv_small{tail}"] = (size, partial(_mobilenetv4_conv_small, small=small))
        for name, channels in shuffles.items():
            rows[f"shufflenet_v2_{name}{tail}"] = (size, partial(_shufflenet_v2, channels=channels, small=small))
    rows["fasternet_t0"] = (224, _fasternet_t0)
    return rows


_REGISTRY = _registry()


def models() -> list[str]:
    """The names that create_model knows: those of `fewshift models`."""
    return list(_REGISTRY)


def _start_weights(network: Network) -> None:
    """He's normal, by fan-out, as fewshift starts them."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            fan = layer.weight[0, 0].numel() * layer.out_channels / layer.groups
            nn.init.normal_(layer.weight, 0.0, math.sqrt(2 / fan))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0.0, 0.01)
            nn.init.zeros_(layer.bias)


def create_model(name: str, classes: int | None = None, shift: str = "ssl") -> Network:
    """A network of `fewshift models`, its weights at random. classes: by default 1000, or 10 for inputs of 32 px.
    shift: the spatial operator of FE-Nets and ShiftResNets: "ssl", "asl", "gsl", "random" or "depthwise"."""
    if name not in _REGISTRY:
        close = difflib.get_close_matches(name, _REGISTRY, 1, 0.0)[0]
        raise ValueError(f'there is no model "{name}"; did you mean {close}?')
    if shift not in SPATIAL:
        raise ValueError(f'shift "{shift}" is none of {", ".join(SPATIAL)}')
    size, make = _REGISTRY[name]
    network = make(classes or (10 if size == 32 else 1000), shift)
    network.name, network.shift, network.input_size = name, shift, size
    _start_weights(network)
    return network
