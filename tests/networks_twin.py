"""Every family of networks written again, in PyTorch, after the papers, and the reader of what tests/gradients.cc writes."""
import json
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import nn

CLASSES = 5


def read_safetensors(path):
    data = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        first, last = (start + offset for offset in entry["data_offsets"])
        kind = {"F32": torch.float32, "F64": torch.float64, "I64": torch.int64}[entry["dtype"]]
        tensors[name] = torch.frombuffer(data[first:last], dtype=kind).reshape(entry["shape"])
    return tensors


def part(tensors, kind):
    return {name.partition(".")[2]: t for name, t in tensors.items() if name.startswith(kind + ".")}


# Shifts: every channel looked up at places of its own.


def look_up(x, places, mode):
    """x [N,C,H,W] at `places` [C,H',W',2] (row, column), px; zero outside of the map."""
    sizes = torch.tensor(x.shape[2:])
    grid = ((2 * places + 1) / sizes - 1).flip(-1)
    return F.grid_sample(x.transpose(0, 1), grid, mode, "zeros", align_corners=False).transpose(0, 1)


class Shift(nn.Module):
    def __init__(self, kind, channels, stride):
        super().__init__()
        self.kind, self.stride = kind, stride
        learns = kind in ("ssl", "asl")
        self.displacement = nn.Parameter(torch.zeros(channels, 2), requires_grad=learns)

    def forward(self, x):
        rows, columns = (torch.arange(0, size, self.stride) for size in x.shape[2:])
        pixels = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), -1)
        moves = self.displacement[:, None, None, :]
        if self.kind == "asl":
            return look_up(x, pixels + moves, "bilinear")
        y = look_up(x, pixels + moves.detach().round(), "nearest")
        if self.kind == "ssl":  # the slope of interpolation, and none of its value
            slope = look_up(x.detach(), pixels + moves, "bilinear")
            y = y + (slope - slope.detach())
        return y


# The pieces that all families share.


class ConvNorm(nn.Module):
    def __init__(self, inputs, outputs, kernel=1, stride=1, act=nn.Identity, groups=1, padding=None):
        super().__init__()
        padding = kernel // 2 if padding is None else padding
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.act = act()

    def forward(self, x):
        return self.act(self.norm(self.conv(x)))


def depthwise(channels, kernel, stride=1, act=nn.Identity):
    return ConvNorm(channels, channels, kernel, stride, act, groups=channels)


def named(**modules):
    return nn.Sequential(OrderedDict(modules))


def classifier(channels, head=None, after_pool=None):
    """`head` makes no difference to the map's size, `after_pool` works on the 1x1 map."""
    return named(
        head=head or nn.Identity(),
        pool=nn.AdaptiveAvgPool2d(1),
        pooled=after_pool or nn.Identity(),
        flat=nn.Flatten(),
        linear=nn.Linear(channels, CLASSES),
    )


class Network(nn.Module):
    def __init__(self, stem, units, classifier):
        super().__init__()
        self.stem, self.units, self.classifier = stem, nn.ModuleList(units), classifier

    def forward(self, x):
        x = self.stem(x)
        for unit in self.units:
            x = unit(x)
        return self.classifier(x)


# FE-Net and ShiftResNet.


class SqueezeExcite(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.reduce = nn.Conv2d(channels, channels // 8, 1)
        self.act = nn.ReLU()
        self.expand = nn.Conv2d(channels // 8, channels, 1)

    def forward(self, x):
        means = F.adaptive_avg_pool2d(x, 1)
        return x * self.expand(self.act(self.reduce(means))).sigmoid()


class ShiftBottleneck(nn.Module):
    """Expand, shift (or average pool), project, on the last `width` channels of those that come."""

    def __init__(self, spatial, width, hidden, outputs, squeeze=False, residual=False, stride=1):
        super().__init__()
        self.width, self.residual = width, residual
        self.expand = ConvNorm(width, hidden, act=nn.ReLU)
        if spatial == "pool":
            self.pool = nn.AvgPool2d(2)
        elif spatial == "depthwise":
            self.depthwise = nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False)
        else:
            self.shift = Shift(spatial, hidden, stride)
        if squeeze:
            self.squeeze = SqueezeExcite(hidden)
        self.project = ConvNorm(hidden, outputs)
        if residual and (stride != 1 or width != outputs):
            self.shortcut = ConvNorm(width, outputs, 1, stride)

    def forward(self, x):
        passed, taken = x.split([x.shape[1] - self.width, self.width], 1)
        y = self.expand(taken)
        for name in ("pool", "shift", "depthwise", "squeeze", "project"):
            if hasattr(self, name):
                y = getattr(self, name)(y)
        if self.residual:
            y = y + (self.shortcut(taken) if hasattr(self, "shortcut") else taken)
        return torch.cat([passed, y], 1) if passed.shape[1] else y


def shiftresnet20(shift, expansion):
    units, inputs = [], 16
    for outputs in (16, 32, 64):
        for stride in (1 if outputs == 16 else 2, 1, 1):
            hidden = expansion * outputs
            units.append(ShiftBottleneck(shift, inputs, hidden, outputs, residual=True, stride=stride))
            inputs = outputs
    return Network(ConvNorm(3, 16, 3, act=nn.ReLU), units, classifier(64, nn.ReLU()))


def fenet(shift, p, head, squeeze=False, cifar=False):
    units = [
        ShiftBottleneck(shift, p, 4 * p, p, squeeze),
        ShiftBottleneck(shift if cifar else "pool", p, 5 * p, 2 * p, squeeze),
    ]
    blocks = [(3, 2, 4, "pool"), (4, 4, 8, "pool"), (4, 8, 8, shift), (4, 8, 16, "pool"), (3, 16, 16, shift)]
    for length, inputs, outputs, last in blocks:
        for halvings in range(length - 1, 0, -1):
            width = inputs * p // 2**halvings
            units.append(ShiftBottleneck(shift, width, 6 * width, width, squeeze, residual=True))
        units.append(ShiftBottleneck(last, inputs * p, 6 * inputs * p, outputs * p, squeeze))
    top = ConvNorm(16 * p, head, act=nn.ReLU)
    return Network(ConvNorm(3, p, 3, 1 if cifar else 2), units, classifier(head, top))


# ResNet.


class BasicBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.stride, self.more = stride, outputs - inputs
        self.first = ConvNorm(inputs, outputs, 3, stride, nn.ReLU)
        self.second = ConvNorm(outputs, outputs, 3)
        self.act = nn.ReLU()

    def forward(self, x):
        same = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more))
        return self.act(self.second(self.first(x)) + same)


def resnet20():
    plan = [(16, 16, 1)] * 3 + [(16, 32, 2)] + [(32, 32, 1)] * 2 + [(32, 64, 2)] + [(64, 64, 1)] * 2
    return Network(ConvNorm(3, 16, 3, act=nn.ReLU), [BasicBlock(*row) for row in plan], classifier(64))


# MobileNetV2 and MobileNetV4.


class UniversalBottleneck(nn.Module):
    def __init__(self, inputs, outputs, expansion, start, middle, stride, act):
        super().__init__()
        hidden = expansion * inputs
        self.residual = stride == 1 and inputs == outputs
        self.start = depthwise(inputs, start, 1 if middle else stride) if start else nn.Identity()
        self.expand = ConvNorm(inputs, hidden, act=act) if expansion > 1 else nn.Identity()
        self.depthwise = depthwise(hidden, middle, stride, act) if middle else nn.Identity()
        self.project = ConvNorm(hidden, outputs)

    def forward(self, x):
        y = self.project(self.depthwise(self.expand(self.start(x))))
        return x + y if self.residual else y


def mobilenet_v2_half_cifar():
    units, inputs = [], 16
    stages = [(6, 16, 2, 1), (6, 16, 3, 2), (6, 32, 4, 2), (6, 48, 3, 1), (6, 80, 3, 2), (6, 160, 1, 1)]
    for expansion, outputs, repeats, first_stride in [(1, 8, 1, 1)] + stages:
        for stride in [first_stride] + [1] * (repeats - 1):
            row = (inputs, outputs, expansion, 0, 3, stride)
            units.append(UniversalBottleneck(*row, nn.ReLU6))
            inputs = outputs
    top = ConvNorm(160, 1280, act=nn.ReLU6)
    return Network(ConvNorm(3, 16, 3, act=nn.ReLU6), units, classifier(1280, top))


def mobilenetv4_small_cifar():
    convolutions = [(32, 32, 3, 1), (32, 32, 1, 1), (32, 96, 3, 2), (96, 64, 1, 1)]
    units = [ConvNorm(*row, act=nn.ReLU) for row in convolutions]
    rows = [(64, 96, 3, 5, 5, 2)] + 4 * [(96, 96, 2, 0, 3, 1)] + [(96, 96, 4, 3, 0, 1)]
    rows += [(96, 128, 6, 3, 3, 2), (128, 128, 4, 5, 5, 1), (128, 128, 4, 0, 5, 1), (128, 128, 3, 0, 5, 1)]
    rows += 2 * [(128, 128, 4, 0, 3, 1)]
    units += [UniversalBottleneck(*row, nn.ReLU) for row in rows]
    top, after_pool = ConvNorm(128, 960, act=nn.ReLU), ConvNorm(960, 1280, act=nn.ReLU)
    return Network(ConvNorm(3, 32, 3, act=nn.ReLU), units, classifier(1280, top, after_pool))


# ShuffleNetV2.


class ShuffleUnit(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        half = outputs // 2
        own = inputs if stride == 2 else half
        self.expand = ConvNorm(own, half, act=nn.ReLU)
        self.depthwise = depthwise(half, 3, stride)
        self.project = ConvNorm(half, half, act=nn.ReLU)
        self.beside = None
        if stride == 2:
            pointwise = ConvNorm(inputs, half, act=nn.ReLU)
            self.beside = named(depthwise=depthwise(inputs, 3, 2), project=pointwise)

    def forward(self, x):
        left, right = (self.beside(x), x) if self.beside else x.chunk(2, 1)
        right = self.project(self.depthwise(self.expand(right)))
        n, c, h, w = left.shape
        both = torch.cat([left, right], 1).view(n, 2, c, h, w)
        return both.transpose(1, 2).reshape(n, 2 * c, h, w)


def shufflenet_v2_half(cifar):
    units = [] if cifar else [nn.MaxPool2d(3, 2, 1)]
    inputs = 24
    for outputs, repeats in ((48, 4), (96, 8), (192, 4)):
        units += [ShuffleUnit(inputs, outputs, 2)]
        units += [ShuffleUnit(outputs, outputs, 1) for _ in range(repeats - 1)]
        inputs = outputs
    stem, top = ConvNorm(3, 24, 3, 1 if cifar else 2, nn.ReLU), ConvNorm(192, 1024, act=nn.ReLU)
    return Network(stem, units, classifier(1024, top))


# FasterNet.


class FasterBlock(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.quarter = channels // 4
        self.mix = nn.Conv2d(self.quarter, self.quarter, 3, padding=1, bias=False)
        self.expand = ConvNorm(channels, 2 * channels, act=nn.GELU)
        self.project = named(conv=nn.Conv2d(2 * channels, channels, 1, bias=False))

    def forward(self, x):
        mixed = x.clone()
        mixed[:, : self.quarter] = self.mix(x[:, : self.quarter])
        return x + self.project(self.expand(mixed))


def fasternet_t0():
    units = []
    for channels, repeats in ((40, 1), (80, 2), (160, 8), (320, 2)):
        if units:
            units.append(ConvNorm(channels // 2, channels, 2, 2, padding=0))
        units += [FasterBlock(channels) for _ in range(repeats)]
    after_pool = named(conv=nn.Conv2d(320, 1280, 1, bias=False), act=nn.GELU())
    stem = ConvNorm(3, 40, 4, 4, padding=0)
    return Network(stem, units, classifier(1280, after_pool=after_pool))
