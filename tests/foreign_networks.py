"""Networks as others write them in PyTorch, narrow: torchvision's and timm's families.

At full width the exported graphs hold the operators and the attributes of the originals' graphs.
"""
import math

import torch
import torch.nn.functional as F
from torch import nn

CLASSES = 10
DEPTH = 2  # units of a stage, at most


def narrow(channels, width):
    """A multiple of 8, not below nine tenths of what is asked for."""
    asked = channels * width
    rounded = max(8, int(asked + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * asked else rounded


class Mean(nn.Module):
    def __init__(self, keepdim=False):
        super().__init__()
        self.keepdim = keepdim

    def forward(self, x):
        return x.mean((2, 3), keepdim=self.keepdim)


class ConvNorm(nn.Sequential):
    def __init__(self, inputs, outputs, kernel=1, stride=1, act=None, groups=1, conv=None, eps=1e-5):
        conv = conv or nn.Conv2d
        layers = [conv(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)]
        layers.append(nn.BatchNorm2d(outputs, eps))
        super().__init__(*layers, *([act()] if act else []))


class SameConv(nn.Conv2d):
    """TensorFlow's padding: the map's size over the stride, rounded up, and the odd row at the end."""

    def __init__(self, inputs, outputs, kernel, stride, padding, **options):
        super().__init__(inputs, outputs, kernel, stride, padding if stride == 1 else 0, **options)

    def lengths(self, x):
        return x.size()[-2:]

    def missing(self, length, axis):
        kernel, stride = self.kernel_size[axis], self.stride[axis]
        if isinstance(length, torch.Tensor):  # where sizes are traced
            covered = ((length / stride).ceil() - 1) * stride + (kernel - 1) + 1
            return torch.clamp(covered - length, min=0)
        return max((math.ceil(length / stride) - 1) * stride + kernel - length, 0)

    def forward(self, x):
        if self.stride[0] > 1:
            rows, columns = (self.missing(length, axis) for axis, length in enumerate(self.lengths(x)))
            x = F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2), value=0.0)
        return super().forward(x)


class StaticSameConv(SameConv):
    def lengths(self, x):
        return [int(length) for length in x.shape[-2:]]


class Squeeze(nn.Module):
    """`pool` and the order of the factors are what differs between torchvision's and timm's."""

    def __init__(self, channels, reduced, act, gate, pool, gate_first):
        super().__init__()
        self.pool, self.act, self.gate, self.gate_first = pool, act(), gate(), gate_first
        self.reduce = nn.Conv2d(channels, reduced, 1)
        self.expand = nn.Conv2d(reduced, channels, 1)

    def forward(self, x):
        scale = self.gate(self.expand(self.act(self.reduce(self.pool(x)))))
        return scale * x if self.gate_first else x * scale


def torchvision_squeeze(act, gate):
    return lambda channels, reduced: Squeeze(channels, reduced, act, gate, nn.AdaptiveAvgPool2d(1), True)


def timm_squeeze(act, gate):
    return lambda channels, reduced: Squeeze(channels, reduced, act, gate, Mean(keepdim=True), False)


class InvertedResidual(nn.Module):
    """[depthwise], expand, depthwise, [squeeze], project: whichever of them there are."""

    def __init__(self, inputs, hidden, outputs, kernel, stride, act, *, squeeze=None, start=0, last_act=None,
                 skips=True, conv=None, eps=1e-5):
        super().__init__()
        also = {"conv": conv, "eps": eps}
        layers = []
        if start:
            layers.append(ConvNorm(inputs, inputs, start, 1 if kernel else stride, groups=inputs, **also))
        if hidden != inputs:
            layers.append(ConvNorm(inputs, hidden, act=act, **also))
        if kernel:
            layers.append(ConvNorm(hidden, hidden, kernel, stride, act, hidden, **also))
        if squeeze:
            layers.append(squeeze)
        layers.append(ConvNorm(hidden, outputs, act=last_act, **also))
        self.layers = nn.Sequential(*layers)
        self.skips = skips and stride == 1 and inputs == outputs

    def forward(self, x):
        y = self.layers(x)
        return y + x if self.skips else y


class Network(nn.Module):
    """Features, and their mean over the map: pooled, or ReduceMean; `pooled` works on the 1x1 map."""

    def __init__(self, features, head, pool="adaptive", pooled=()):
        super().__init__()
        self.features, self.pooled, self.head = nn.Sequential(*features), nn.Sequential(*pooled), nn.Sequential(*head)
        self.pool = nn.AdaptiveAvgPool2d(1) if pool == "adaptive" else Mean()
        self.flat = pool != "adaptive"

    def forward(self, x):
        x = self.pooled(self.pool(self.features(x)))
        return self.head(x if self.flat else torch.flatten(x, 1))


def linear_head(channels):
    return [nn.Dropout(0.2), nn.Linear(channels, CLASSES)]


def stages(rows, inputs, width, make):
    """rows: (expansion, kernel, outputs, repeats, stride of the first)"""
    units = []
    for expansion, kernel, outputs, repeats, stride in rows:
        outputs = narrow(outputs, width)
        for k in range(min(repeats, DEPTH)):
            units.append(make(inputs, expansion * inputs, outputs, kernel, 1 if k else stride))
            inputs = outputs
    return units


# MobileNetV1 and V2, MNASNet.


def mobilenet_v1(width=0.25):
    rows = [(1, 3, 64, 1, 1), (1, 3, 128, 1, 2), (1, 3, 128, 1, 1), (1, 3, 256, 1, 2), (1, 3, 256, 1, 1)]
    rows += [(1, 3, 512, 1, 2), (1, 3, 512, 5, 1), (1, 3, 1024, 1, 2), (1, 3, 1024, 1, 1)]
    act, first = nn.ReLU6, narrow(32, width)
    units = stages(rows, first, width, lambda *row: InvertedResidual(*row, act, last_act=act, skips=False))
    return Network([ConvNorm(3, first, 3, 2, act), *units], linear_head(narrow(1024, width)))


def mobilenet_v2(width=0.35):
    rows = [(1, 3, 16, 1, 1), (6, 3, 24, 2, 2), (6, 3, 32, 3, 2), (6, 3, 64, 4, 2), (6, 3, 96, 3, 1)]
    rows += [(6, 3, 160, 3, 2), (6, 3, 320, 1, 1)]
    act, first, last = nn.ReLU6, narrow(32, width), narrow(1280, width)
    units = stages(rows, first, width, lambda *row: InvertedResidual(*row, act))
    top = ConvNorm(narrow(320, width), last, act=act)
    return Network([ConvNorm(3, first, 3, 2, act), *units, top], linear_head(last))


def mnasnet(pool, width=0.35):
    rows = [(1, 3, 16, 1, 1), (3, 3, 24, 3, 2), (3, 5, 40, 3, 2), (6, 5, 80, 3, 2), (6, 3, 96, 2, 1)]
    rows += [(6, 5, 192, 4, 2), (6, 3, 320, 1, 1)]
    act, first, last = nn.ReLU, narrow(32, width), narrow(1280, width)
    units = stages(rows, first, width, lambda *row: InvertedResidual(*row, act))
    top = ConvNorm(narrow(320, width), last, act=act)
    return Network([ConvNorm(3, first, 3, 2, act), *units, top], linear_head(last), pool)


# MobileNetV3. Rows: kernel, hidden, outputs, squeeze, hardswish, stride.

V3_SMALL = [
    (3, 16, 16, 1, 0, 2), (3, 72, 24, 0, 0, 2), (3, 88, 24, 0, 0, 1), (5, 96, 40, 1, 1, 2), (5, 240, 40, 1, 1, 1),
    (5, 240, 40, 1, 1, 1), (5, 120, 48, 1, 1, 1), (5, 144, 48, 1, 1, 1), (5, 288, 96, 1, 1, 2), (5, 576, 96, 1, 1, 1),
    (5, 576, 96, 1, 1, 1),
]
V3_LARGE = [
    (3, 16, 16, 0, 0, 1), (3, 64, 24, 0, 0, 2), (3, 72, 24, 0, 0, 1), (5, 72, 40, 1, 0, 2), (5, 120, 40, 1, 0, 1),
    (5, 120, 40, 1, 0, 1), (3, 240, 80, 0, 1, 2), (3, 200, 80, 0, 1, 1), (3, 184, 80, 0, 1, 1), (3, 184, 80, 0, 1, 1),
    (3, 480, 112, 1, 1, 1), (3, 672, 112, 1, 1, 1), (5, 672, 160, 1, 1, 2), (5, 960, 160, 1, 1, 1),
    (5, 960, 160, 1, 1, 1),
]


def mobilenet_v3(rows, width, flavour, conv=None):
    """flavour: torchvision (a hidden linear layer after the pool), timm (a convolution there), minimal (plain)."""
    minimal = flavour == "minimal"
    squeeze = (torchvision_squeeze if flavour == "torchvision" else timm_squeeze)(nn.ReLU, nn.Hardsigmoid)
    swish = nn.ReLU if minimal else nn.Hardswish
    also = {"conv": conv, "eps": 1e-3}
    inputs = narrow(16, width)
    features = [ConvNorm(3, inputs, 3, 2, swish, **also)]
    for kernel, hidden, outputs, squeezes, swishes, stride in rows:
        hidden, outputs = narrow(hidden, width) if hidden != 16 else inputs, narrow(outputs, width)
        gate = squeeze(hidden, narrow(hidden, 0.25)) if squeezes and not minimal else None
        act = swish if swishes else nn.ReLU
        kernel = 3 if minimal else kernel
        features.append(InvertedResidual(inputs, hidden, outputs, kernel, stride, act, squeeze=gate, **also))
        inputs = outputs
    hidden, last = narrow(rows[-1][1], width), narrow(1024 if rows is V3_SMALL else 1280, width)
    features.append(ConvNorm(inputs, hidden, act=swish, **also))
    if flavour == "torchvision":
        return Network(features, [nn.Linear(hidden, last), swish(inplace=True), *linear_head(last)])
    pooled = [nn.Conv2d(hidden, last, 1), swish()]
    return Network(features, [nn.Identity(), nn.Linear(last, CLASSES)], pooled=pooled)


# MobileNetV4, small, of convolutions. Rows: start, kernel, expansion, outputs, stride.

V4_SMALL = [(5, 5, 3, 96, 2)] + 4 * [(0, 3, 2, 96, 1)] + [(3, 0, 4, 96, 1), (3, 3, 6, 128, 2), (5, 5, 4, 128, 1)]
V4_SMALL += [(0, 5, 4, 128, 1), (0, 5, 3, 128, 1), (0, 3, 4, 128, 1), (0, 3, 4, 128, 1)]


def mobilenet_v4(width=0.25):
    act = nn.ReLU
    at = lambda channels: narrow(channels, width)
    features, inputs = [], 3
    for outputs, kernel, stride in ((32, 3, 2), (32, 3, 2), (32, 1, 1), (96, 3, 2), (64, 1, 1)):
        features.append(ConvNorm(inputs, at(outputs), kernel, stride, act))
        inputs = at(outputs)
    for start, kernel, expansion, outputs, stride in V4_SMALL:
        row = (inputs, expansion * inputs, at(outputs), kernel, stride, act)
        features.append(InvertedResidual(*row, start=start))
        inputs = at(outputs)
    features.append(ConvNorm(inputs, at(960), act=act))
    return Network(features, linear_head(at(1280)), pooled=[ConvNorm(at(960), at(1280), act=act)])


# EfficientNet-B0 and Lite0.


def efficientnet(width, squeeze, act, conv=None):
    rows = [(1, 3, 16, 1, 1), (6, 3, 24, 2, 2), (6, 5, 40, 2, 2), (6, 3, 80, 3, 2), (6, 5, 112, 3, 1)]
    rows += [(6, 5, 192, 4, 2), (6, 3, 320, 1, 1)]
    also = {"conv": conv, "eps": 1e-3 if conv else 1e-5}

    def unit(inputs, hidden, outputs, kernel, stride):
        gate = squeeze(hidden, max(1, inputs // 4)) if squeeze else None
        return InvertedResidual(inputs, hidden, outputs, kernel, stride, act, squeeze=gate, **also)

    first, last = narrow(32, width), narrow(1280, width)
    top = ConvNorm(narrow(320, width), last, act=act, **also)
    features = [ConvNorm(3, first, 3, 2, act, **also), *stages(rows, first, width, unit), top]
    return Network(features, linear_head(last))


# ShuffleNetV2.


class ShuffleUnit(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        half = outputs // 2
        own = inputs if stride == 2 else half
        self.main = nn.Sequential(
            ConvNorm(own, half, act=nn.ReLU),
            ConvNorm(half, half, 3, stride, groups=half),
            ConvNorm(half, half, act=nn.ReLU),
        )
        self.side = None
        if stride == 2:
            pointwise = ConvNorm(inputs, half, act=nn.ReLU)
            self.side = nn.Sequential(ConvNorm(inputs, inputs, 3, 2, groups=inputs), pointwise)

    def forward(self, x):
        if self.side is None:
            kept, worked = x.chunk(2, dim=1)
            both = torch.cat((kept, self.main(worked)), dim=1)
        else:
            both = torch.cat((self.side(x), self.main(x)), dim=1)
        n, c, h, w = both.size()  # read off the traced map, not off the module
        pairs = both.view(n, 2, c // 2, h, w)
        return torch.transpose(pairs, 1, 2).contiguous().view(n, c, h, w)


def shufflenet_v2(width=0.25):
    at = lambda channels: 4 * round(channels * width / 4)
    features = [ConvNorm(3, 24, 3, 2, nn.ReLU), nn.MaxPool2d(kernel_size=3, stride=2, padding=1)]
    inputs = 24
    for channels, count in ((116, 4), (232, 8), (464, 4)):
        features.append(ShuffleUnit(inputs, at(channels), 2))
        features += [ShuffleUnit(at(channels), at(channels), 1) for _ in range(min(count, DEPTH) - 1)]
        inputs = at(channels)
    last = narrow(1024, width)
    return Network([*features, ConvNorm(inputs, last, act=nn.ReLU)], [nn.Linear(last, CLASSES)], "mean")


NETWORKS = {
    "timm_mobilenetv1": (mobilenet_v1, (64, 97, 32)),
    "tv_mobilenet_v2": (mobilenet_v2, (64, 65, 96)),
    "timm_mobilenetv2": (lambda: mobilenet_v2(0.5), (33, 64, 96)),
    "tv_mobilenet_v3_small": (lambda: mobilenet_v3(V3_SMALL, 0.5, "torchvision"), (64, 97, 32)),
    "tv_mobilenet_v3_large": (lambda: mobilenet_v3(V3_LARGE, 0.35, "torchvision"), (65, 64, 112)),
    "timm_mobilenetv3_small": (lambda: mobilenet_v3(V3_SMALL, 0.5, "timm"), (96, 65, 48)),
    "timm_mobilenetv3_large": (lambda: mobilenet_v3(V3_LARGE, 0.35, "timm"), (64, 97, 80)),
    "timm_tf_mobilenetv3_large_minimal": (lambda: mobilenet_v3(V3_LARGE, 0.35, "minimal", SameConv), (64, 65, 90)),
    "timm_mobilenetv4_conv_small": (mobilenet_v4, (64, 97, 48)),
    "tv_shufflenet_v2": (shufflenet_v2, (64, 65, 96)),
    "tv_mnasnet": (lambda: mnasnet("mean"), (64, 65, 32)),
    "timm_mnasnet": (lambda: mnasnet("adaptive"), (97, 64, 40)),
    "tv_efficientnet_b0": (lambda: efficientnet(0.25, torchvision_squeeze(nn.SiLU, nn.Sigmoid), nn.SiLU), (64, 65, 80)),
    "timm_efficientnet_b0": (lambda: efficientnet(0.35, timm_squeeze(nn.SiLU, nn.Sigmoid), nn.SiLU), (96, 33, 64)),
    "timm_tf_efficientnet_b0":
        (lambda: efficientnet(0.25, timm_squeeze(nn.SiLU, nn.Sigmoid), nn.SiLU, SameConv), (64, 97, 34)),
    "timm_efficientnet_lite0": (lambda: efficientnet(0.35, None, nn.ReLU6), (64, 65, 32)),
    "timm_tf_efficientnet_lite0": (lambda: efficientnet(0.35, None, nn.ReLU6, SameConv), (65, 64, 98)),
    "static_tf_efficientnet_lite0": (lambda: efficientnet(0.25, None, nn.ReLU6, StaticSameConv), (64, 65, 38)),
}
