"""The units that fewshift's networks consist of, their parameters named as in its checkpoints. Maps are [N,C,H,W].
SPDX-License-Identifier: Apache-2.0"""
from __future__ import annotations

from typing import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import ActiveShift2d, SparseShift2d, random_shifts

Activation = Callable[[], nn.Module]


class ConvNorm(nn.Module):
    """Convolution without bias, batch norm, activation."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, act: Activation = nn.Identity,
        groups: int = 1, padding: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        padding = kernel // 2 if padding is None else padding
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.act = act()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(x)))


def depthwise(channels: int, kernel: int, stride: int = 1, act: Activation = nn.Identity) -> ConvNorm:
    return ConvNorm(channels, channels, kernel, stride, act, groups=channels)


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, channels // reduction, 1)
        self.expand = nn.Conv2d(channels // reduction, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.expand(self.reduce(x.mean((2, 3), True)).relu()).sigmoid()


# What --shift chooses among: (channels, stride) -> module, and its name in a unit.
SPATIAL: dict[str, tuple[str, Callable[[int, int], nn.Module]]] = {
    "ssl": ("shift", SparseShift2d),
    "asl": ("shift", ActiveShift2d),
    "gsl": ("shift", lambda c, s: SparseShift2d(c, s, "grid", learned=False)),
    "random": ("shift", lambda c, s: SparseShift2d(c, s, random_shifts(c, 0.6), learned=False)),
    "depthwise": ("depthwise", lambda c, s: nn.Conv2d(c, c, 3, s, 1, groups=c, bias=False)),
}


class ShiftBottleneck(nn.Module):
    """IB-SSL and IB-Pool ("All You Need is a Few Shifts"): pointwise expand, BN, ReLU; spatial operator, or 2x2 average
    pool; pointwise project, BN. It reads the last `width` channels of those that come and lets the others pass.

    spatial: a name of SPATIAL, or "pool". shortcut: None, "identity" or "projection"."""

    def __init__(
        self, spatial: str, width: int, hidden: int, outputs: int, stride: int = 1, shortcut: str | None = None,
        squeeze: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.width, self.adds = width, shortcut == "identity"
        self.expand = ConvNorm(width, hidden, act=nn.ReLU)
        self.spatial = None
        if spatial != "pool":
            self.spatial, make = SPATIAL[spatial]
            self.add_module(self.spatial, make(hidden, stride))
        self.squeeze = SqueezeExcite(hidden, squeeze) if squeeze else nn.Identity()
        self.project = ConvNorm(hidden, outputs)
        self.shortcut = ConvNorm(width, outputs, 1, stride) if shortcut == "projection" else None

    def forward(self, x: Tensor) -> Tensor:
        passed, taken = x.split([x.shape[1] - self.width, self.width], 1)
        y = self.expand(taken)
        if self.spatial is not None:
            y = getattr(self, self.spatial)(y)
        elif min(y.shape[2:]) > 1:
            y = F.avg_pool2d(y, 2)
        y = self.project(self.squeeze(y))
        if self.adds:
            y = y + taken
        elif self.shortcut is not None:
            y = y + self.shortcut(taken)
        return torch.cat([passed, y], 1) if passed.shape[1] else y


class BasicBlock(nn.Module):
    """ResNet's, its shortcut without parameters: every second pixel, and channels of zeros behind."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.stride, self.more = 1 if inputs == outputs else 2, outputs - inputs
        self.first = ConvNorm(inputs, outputs, 3, self.stride, nn.ReLU)
        self.second = ConvNorm(outputs, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        same = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more))
        return (self.second(self.first(x)) + same).relu()


class UniversalBottleneck(nn.Module):
    """MobileNetV4's, of which MobileNetV2's is a case. start, middle: the depthwise layers' kernels, 0 for none; the
    stride is that of the middle one, or of the first where it stands alone."""

    def __init__(
        self, inputs: int, outputs: int, expansion: int, start: int, middle: int, stride: int, act: Activation
    ) -> None:
        super().__init__()
        hidden = expansion * inputs
        self.adds = stride == 1 and inputs == outputs
        self.start = depthwise(inputs, start, 1 if middle else stride) if start else nn.Identity()
        self.expand = ConvNorm(inputs, hidden, act=act) if expansion > 1 else nn.Identity()
        self.depthwise = depthwise(hidden, middle, stride, act) if middle else nn.Identity()
        self.project = ConvNorm(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.depthwise(self.expand(self.start(x))))
        return x + y if self.adds else y


class ShuffleUnit(nn.Module):
    """ShuffleNetV2's: one half passes (with stride 2, by a way of its own), the other is mixed, both interleaved."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        half = outputs // 2
        own = inputs if stride == 2 else half
        self.expand = ConvNorm(own, half, act=nn.ReLU)
        self.depthwise = depthwise(half, 3, stride)
        self.project = ConvNorm(half, half, act=nn.ReLU)
        self.beside = None
        if stride == 2:
            self.beside = nn.Sequential()
            self.beside.add_module("depthwise", depthwise(inputs, 3, 2))
            self.beside.add_module("project", ConvNorm(inputs, half, act=nn.ReLU))

    def forward(self, x: Tensor) -> Tensor:
        left, right = (self.beside(x), x) if self.beside is not None else x.chunk(2, 1)
        return torch.stack([left, self.project(self.depthwise(self.expand(right)))], 2).flatten(1, 2)


class PartialBlock(nn.Module):
    """FasterNet's: a 3x3 convolution on a quarter of the channels, pointwise expand and project on all, its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.quarter = channels // 4
        self.mix = nn.Conv2d(self.quarter, self.quarter, 3, padding=1, bias=False)
        self.expand = ConvNorm(channels, 2 * channels, act=nn.GELU)
        self.project = nn.Sequential()
        self.project.add_module("conv", nn.Conv2d(2 * channels, channels, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        mixed = torch.cat([self.mix(x[:, : self.quarter]), x[:, self.quarter :]], 1)
        return x + self.project(self.expand(mixed))


class Classifier(nn.Module):
    """To class scores: `head` on the map, average, `pooled` on what that leaves, dropout, linear."""

    def __init__(
        self, channels: int, classes: int, head: nn.Module, pooled: nn.Module | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.head = head
        self.pooled = nn.Identity() if pooled is None else pooled
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        y = self.pooled(self.head(x).mean((2, 3), True))
        return self.linear(self.dropout(y.flatten(1)))
