"""Writes the fuzzer's small models, as PyTorch's two exporters make them.   usage: onnx_seeds.py FOLDER"""
import pathlib
import sys
import warnings

import onnx
import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from foreign_parts import Graph


def gated(m, x):
    x = F.hardswish(m.a(x))
    x = x * F.hardsigmoid(m.gate(F.adaptive_avg_pool2d(x, 1)))
    return m.last(F.silu(m.b(x)).mean((2, 3)))


def shuffled(m, x):
    x = m.a(x)
    left, right = x.chunk(2, 1)
    x = torch.cat([left, m.b(right).relu()], 1)
    n, c, h, w = x.size()
    x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
    return F.softmax(m.last(x.mean([2, 3])), 1)


def padded(m, x):
    rows = max((-(-x.size(2) // 2) - 1) * 2 + 3 - x.size(2), 0)
    x = m.a(F.pad(x, (0, 1, rows // 2, rows - rows // 2)))
    x = x[:, :4] + x[:, -4:]
    return m.last(torch.flatten(F.relu6(x), 1))


def pooled(m, x):
    x = torch.cat([F.max_pool2d(x, 2, 2, 0, ceil_mode=True), F.avg_pool2d(x, 2, 2, ceil_mode=True)], 1)
    x = m.norm(F.avg_pool2d(x, 3, 1, 1)) / 2 - 1
    return (x * m.scale).clamp(-1, 2).flatten(2).mean(2) @ m.weight


def residual(m, x):
    y = m.a(x)
    for k in range(2):
        y = y + m.b[k](F.relu6(m.c[k](y)))
    return m.d(y)[:, :, ::2, 1:]


MODELS = {
    "gated": Graph(gated, a=nn.Conv2d(3, 8, 3, 2, 1), gate=nn.Conv2d(8, 8, 1), b=nn.Conv2d(8, 8, 3, 1, 1, groups=8),
                      last=nn.Linear(8, 3)),
    "shuffled": Graph(shuffled, a=nn.Conv2d(3, 8, 1), b=nn.Conv2d(4, 4, 3, 1, 1, groups=2), last=nn.Linear(8, 3)),
    "padded": Graph(padded, a=nn.Conv2d(3, 8, 3, 2), last=nn.Linear(64, 3)),
    "pooled": Graph(pooled, norm=nn.BatchNorm2d(6), scale=nn.Parameter(torch.ones(1, 6, 1, 1)),
                       weight=nn.Parameter(torch.ones(6, 3))),
    "residual": Graph(residual, a=nn.Conv2d(3, 4, 1), c=nn.ModuleList([nn.Conv2d(4, 6, 1) for _ in range(2)]),
                         b=nn.ModuleList([nn.Conv2d(6, 4, 3, padding=2, dilation=2) for _ in range(2)]),
                         d=nn.Conv2d(4, 4, (1, 3), padding=(0, 1), groups=4)),
}

folder = pathlib.Path(sys.argv[1])
warnings.simplefilter("ignore")
for name, model in MODELS.items():
    for exporter in ("script", "dynamo"):
        torch.manual_seed(0)
        file = folder / f"{name}_{exporter}.onnx"
        x = torch.randn(2, 3, 8, 8)
        options = {"input_names": ["x"], "output_names": ["y"], "verbose": False}
        if exporter == "script":
            torch.onnx.export(model.eval(), (x,), file, dynamo=False, opset_version=13,
                              dynamic_axes={"x": {0: "n"}, "y": {0: "n"}}, **options)
        else:
            torch.onnx.export(model.eval(), (x,), file, dynamo=True, external_data=False,
                              dynamic_shapes=({0: torch.export.Dim("n")},), **options)
        proto = onnx.load(file)
        for node in proto.graph.node:
            node.doc_string = ""
            del node.metadata_props[:]
        del proto.graph.value_info[:], proto.graph.metadata_props[:], proto.functions[:], proto.metadata_props[:]
        onnx.save(proto, file)
        print(file.name, file.stat().st_size)
