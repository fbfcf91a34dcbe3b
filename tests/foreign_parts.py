"""Graphs of odd parts, as users of PyTorch make them: what foreign_networks.py has not."""
import torch
import torch.nn.functional as F
from torch import nn

from foreign_networks import CLASSES, ConvNorm, InvertedResidual


class Graph(nn.Module):
    """forward(self, x) given as a function; the parts are its modules and buffers."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            if isinstance(part, torch.Tensor):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)

    def forward(self, x):
        return self.function(self, x)


def conv(inputs, outputs, kernel=3, stride=1, **options):
    options = {"padding": kernel // 2, **options} if isinstance(kernel, int) else options
    return nn.Conv2d(inputs, outputs, kernel, stride, **options)


def head(channels):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, CLASSES))


def grouped():
    return nn.Sequential(
        conv(3, 12, groups=3), nn.ReLU(), conv(12, 24, stride=2, groups=2), nn.BatchNorm2d(24), nn.ReLU(),
        conv(24, 24, groups=4), nn.SiLU(), conv(24, 36, 1, groups=12), nn.ReLU6(), conv(36, 18, 5, 2, groups=18),
        nn.ReLU(), conv(18, 36, groups=18), head(36),
    )


def dilated():
    return nn.Sequential(
        conv(3, 16, padding=2, dilation=2), nn.ReLU(), conv(16, 16, padding=3, dilation=3, groups=16), nn.ReLU(),
        conv(16, 24, (3, 5), 2, padding=(2, 2), dilation=(2, 1)), nn.BatchNorm2d(24), nn.ReLU(),
        conv(24, 24, padding=0, dilation=2, groups=24), conv(24, 16, padding=4, dilation=4, groups=4),
    )


def asymmetric_pads():
    return nn.Sequential(
        nn.ZeroPad2d((0, 1, 0, 1)), conv(3, 16, stride=2, padding=0), nn.ReLU(), nn.ZeroPad2d((1, 0, 2, 1)),
        conv(16, 16, padding=0, groups=16), conv(16, 24, 5, (2, 1), padding=(2, 0)), nn.ReLU(),
        nn.ZeroPad2d((3, 0, 0, 3)), nn.MaxPool2d(2), nn.ZeroPad2d((2, 1, 1, 2)), conv(24, 16, 4, 2, padding=0),
    )


def strips():
    return nn.Sequential(
        conv(3, 16, (1, 7), padding=(0, 3)), conv(16, 24, (7, 1), padding=(3, 0)), nn.BatchNorm2d(24), nn.ReLU(),
        conv(24, 24, (1, 3), (1, 2), padding=(0, 1), groups=24), nn.ReLU6(), conv(24, 24, (5, 1), (2, 1), groups=24),
        conv(24, 16, (3, 5), padding=(1, 2)), nn.Hardswish(), head(16),
    )


def average_pools():
    return nn.Sequential(
        conv(3, 16), nn.AvgPool2d(3, 1, 1, count_include_pad=True), nn.ReLU(), conv(16, 16),
        nn.AvgPool2d(3, 2, 1, count_include_pad=False), conv(16, 16), nn.AvgPool2d(2, 2, ceil_mode=True), conv(16, 16),
        nn.AvgPool2d(3, 2, ceil_mode=True, count_include_pad=False), conv(16, 16), nn.AvgPool2d((2, 3), (1, 2), (0, 1)),
    )


def max_pools():
    return nn.Sequential(
        conv(3, 16), nn.MaxPool2d(3, 2, ceil_mode=True), conv(16, 16), nn.ReLU(), nn.MaxPool2d(2, 2, ceil_mode=True),
        conv(16, 16), nn.MaxPool2d(3, 1, 1), conv(16, 16), nn.MaxPool2d((3, 2), (2, 1), (1, 0), ceil_mode=True),
    )


def whole_map_pools():
    def forward(m, x):
        x = m.first(x).relu()
        whole = [int(length) for length in x.shape[2:]]
        return m.head(F.avg_pool2d(x, whole) + F.max_pool2d(x, 3, 1, 1).mean((-2, -1), keepdim=True))

    return Graph(forward, first=conv(3, 16, stride=2), head=head(16))


def means():
    def forward(m, x):
        x = m.first(x).relu()
        x = x * x.mean([2, 3], keepdim=True).sigmoid()
        x = m.second(x).relu() + m.third(x.mean((-1, -2), True))
        return m.linear(x.mean([2, 3]))

    parts = {"second": conv(16, 24), "third": conv(16, 24, 1), "linear": nn.Linear(24, CLASSES)}
    return Graph(forward, first=conv(3, 16, stride=2), **parts)


def linears():
    def forward(m, x):
        x = F.relu(m.gemm(m.first(x).mean([2, 3])))
        x = F.hardswish(x @ m.weight + m.bias)
        return m.last(F.relu6(m.plain(x)))

    parts = {"plain": nn.Linear(24, 32, bias=False), "last": nn.Linear(32, CLASSES), "bias": torch.linspace(-1, 1, 24)}
    weight = torch.linspace(-0.5, 0.4, 20 * 24).sin().reshape(20, 24)
    return Graph(forward, first=conv(3, 16, stride=2), gemm=nn.Linear(16, 20), weight=weight, **parts)


def softmax(axis):
    return nn.Sequential(conv(3, 16, stride=2), nn.ReLU(), head(16), nn.Softmax(axis))


def lone_batch_norms():
    def forward(m, x):
        x = m.conv(m.image(x))
        x = m.conv2(F.relu(m.before(torch.cat([x, F.relu(x)], 1))))
        x = m.between(F.max_pool2d(x, 3, 2, 1) + m.pooled(F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)))
        return m.head(m.after(F.relu(x)))

    norms = {"image": 3, "before": 32, "pooled": 16, "between": 16, "after": 16}
    parts = {name: nn.BatchNorm2d(channels) for name, channels in norms.items()}
    return Graph(forward, conv=conv(3, 16, stride=2), conv2=conv(32, 16), head=head(16), **parts)


def feature_norms():
    pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(
        conv(3, 24, stride=2), nn.ReLU(), *pool, nn.BatchNorm1d(24), nn.Linear(24, 32, bias=False), nn.BatchNorm1d(32),
        nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, CLASSES), nn.BatchNorm1d(CLASSES),
    )


def inception():
    def branches(inputs, width):
        towers = {
            "a": ConvNorm(inputs, width, act=nn.ReLU),
            "b": nn.Sequential(ConvNorm(inputs, width, act=nn.ReLU6), ConvNorm(width, width, 3, act=nn.Hardswish)),
            "c": nn.Sequential(ConvNorm(inputs, width, 5, act=nn.SiLU), ConvNorm(width, width + 4, 3)),
            "d": nn.Sequential(nn.AvgPool2d(3, 1, 1), conv(inputs, width, 1), nn.Sigmoid()),
            "e": nn.Sequential(nn.MaxPool2d(3, 1, 1), ConvNorm(inputs, width - 2, act=nn.Hardsigmoid)),
        }
        return Graph(lambda m, x: torch.cat([m.a(x), m.b(x), x, m.c(x), m.d(x), m.e(x)], 1), **towers)

    stem = ConvNorm(3, 16, 3, 2, nn.ReLU)
    return nn.Sequential(stem, branches(16, 12), nn.MaxPool2d(3, 2, ceil_mode=True), branches(78, 8), head(120))


def slices():
    def forward(m, x):
        x = m.first(x).relu()
        a, b, c = x.chunk(3, 1)
        d, e, f = x.split([4, 12, 8], 1)
        x = torch.cat([m.second(a), c * b, f, x[:, ::2], x[:, -8:], d, x[:, 3:-5], e.relu(), x[:, 1:20:3]], 1)
        return m.head(x[:, :, 1:-1, ::2] + x[:, :, :-2, : x.shape[3] : 2])

    return Graph(forward, first=conv(3, 24), second=conv(8, 8), head=head(83))


def pads():
    def forward(m, x):
        x = F.pad(m.first(x), (1, 2, 0, 3)).relu()
        x = m.second(F.pad(x, (2, 2, 2, 2), "constant", 0))
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 4, 12)) + m.third(x)

    return Graph(forward, first=conv(3, 8), second=conv(8, 16, padding=0), third=conv(16, 32, 1, 2))


def reshapes():
    def forward(m, x):
        x = F.adaptive_avg_pool2d(m.first(x).relu(), 1)
        n = x.size(0)
        return torch.cat([m.a(x.flatten(1)), m.b(x.reshape(n, -1)), m.c(x.view(n, 16)), m.d(x.view(-1, 16))], 1)

    linears = {name: nn.Linear(16, 4 + k) for k, name in enumerate("abcd")}
    return Graph(forward, first=conv(3, 16, stride=2), **linears)


def squeezed():
    def forward(m, x):
        x = m.first(x).relu()
        return m.linear(x.mean([2, 3], keepdim=True).squeeze(-1).squeeze(-1) + x.flatten(2).mean(2))

    return Graph(forward, first=conv(3, 16, stride=2), linear=nn.Linear(16, CLASSES))


def flattened_map():
    features = [ConvNorm(3, 8, 3, 2, nn.ReLU), nn.MaxPool2d(2), conv(8, 6, 3, 2), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*features, nn.Flatten(), nn.LazyLinear(20), nn.ReLU(), nn.Linear(20, CLASSES))


def scalars():
    def forward(m, x):
        x = m.first((x - m.mean) / m.deviation)
        x = (x * 2 + 1.5 - 0.25) / 3
        y = m.second(x * m.scale + m.shift).relu()
        x = (1 - y) * 0.5 - (x - y) + 2 * x.sigmoid()
        return m.head(x * m.scale - m.channels / 2)

    statistics = {"mean": torch.tensor([0.48, 0.45, 0.4]), "deviation": torch.tensor([0.23, 0.22, 0.25])}
    parts = {name: value.view(1, 3, 1, 1) for name, value in statistics.items()}
    for name, shape in {"scale": (1, 16, 1, 1), "shift": (1, 16, 1, 1), "channels": (16, 1, 1)}.items():
        parts[name] = nn.Parameter(torch.linspace(0.5, 1.5, 16).view(shape))
    return Graph(forward, first=conv(3, 16, stride=2), second=conv(16, 16), head=head(16), **parts)


def written_out():
    def forward(m, x):
        x = m.a(x)
        x = m.b(x * F.relu6(x + 3) / 6)
        x = m.c(x * x.sigmoid())
        x = m.d(x * (F.relu6(x + 3) / 6))
        x = x * (F.hardtanh(m.e(x.mean((2, 3), keepdim=True)) + 3, 0, 6) * (1 / 6))
        x = m.f(F.relu6(x + 3) * (1 / 6) * x).clamp(min=0)
        return m.head(x.clamp(max=1.5) + F.hardtanh(x, -0.5, 2))

    convs = {name: conv(3 if name == "a" else 16, 16, 3 if name != "e" else 1) for name in "abcdef"}
    return Graph(forward, head=head(16), **convs)


def summed_thrice():
    def forward(m, x):
        x = m.first(x)
        y, z = m.second(x), m.third(x)
        x = (y + z).relu()
        x = F.relu6(x + z + y)
        return m.head(m.fourth(x + x + y) + z)

    pair = {"second": conv(16, 16), "third": conv(16, 16, groups=16)}
    return Graph(forward, first=conv(3, 16, stride=2), fourth=conv(16, 16, 1), head=head(16), **pair)


def tiny_maps():
    features = [ConvNorm(3, 16, 3, 2, nn.ReLU6), *(ConvNorm(16, 16, 3, 2, nn.ReLU6, 16) for _ in range(5))]
    units = [InvertedResidual(16, 32, 16, kernel, 1, nn.ReLU6) for kernel in (3, 5, 7)]
    plain = [ConvNorm(16, 24, 3, act=nn.ReLU), nn.AvgPool2d(3, 2, 1, count_include_pad=False), nn.MaxPool2d(3, 1, 1)]
    return nn.Sequential(*features, *units, *plain, ConvNorm(24, 24, 5, 2, groups=3), head(24))


def tied():
    def forward(m, x):
        x = m.first(x)
        return m.head(m.twice(m.twice(x)) + m.norm(m.other(m.norm(x))))

    parts = {"norm": nn.BatchNorm2d(16), "other": conv(16, 16), "head": head(16)}
    return Graph(forward, first=conv(3, 16, stride=2), twice=ConvNorm(16, 16, 3, act=nn.ReLU), **parts)


ODDS = (
    grouped, dilated, asymmetric_pads, strips, average_pools, max_pools, whole_map_pools, means, linears,
    lone_batch_norms, feature_norms, inception, slices, pads, reshapes, squeezed, flattened_map, scalars, written_out,
    summed_thrice, tiny_maps, tied,
)
