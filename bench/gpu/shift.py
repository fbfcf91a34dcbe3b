"""The shift operators on a GPU beside a copy of the same bytes and cuDNN's depthwise 3x3, forward and backward.

    python3 bench/gpu/shift.py build/cuda/libfewshift_torch.so [RESULTS.json]

Milliseconds, medians of alternating rounds. "of a copy": the bytes that must be read and written once, a second,
over those of a device copy of the same tensor. Inputs rotate, so that none is in the cache.
"""
import json
import statistics
import sys

import torch
import torch.nn.functional as F

torch.ops.load_library(sys.argv[1])
shift = torch.ops.fewshift
ROUNDS, RUNS = 7, 20


def timed(call, sets):
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    for k in range(RUNS):
        call(*sets[k % len(sets)])
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end) / RUNS


def contenders(x, grad, sparsity, stride, last):
    C = x.shape[1]
    u = (torch.rand(C, 2, device="cuda") * 2 - 1) * 1.49
    u[torch.rand(C, device="cuda") < sparsity] = 0
    weight = torch.randn(C, 1, 3, 3, device="cuda", dtype=x.dtype)
    if last:
        weight = weight.contiguous(memory_format=torch.channels_last)
    H, W = x.shape[2:]
    in_bytes, out_bytes = x.numel() * x.element_size(), grad.numel() * x.element_size()
    conv_back = lambda x, g, y: torch.ops.aten.convolution_backward(
        g, x, weight, None, [stride] * 2, [1, 1], [1, 1], False, [0, 0], C, [True, True, False])
    return {
        "copy": (lambda x, g, y: y.copy_(x), 2 * in_bytes),
        "sparse forward": (lambda x, g, y: shift.sparse_shift(x, u, stride), in_bytes / stride**2 + out_bytes),
        "sparse x's gradient": (lambda x, g, y: shift.sparse_shift_grad_x(g, u, H, W, stride), in_bytes + out_bytes),
        "displacement's gradient": (lambda x, g, y: shift.shift_grad_displacement(g, x, u, stride), in_bytes + out_bytes),
        "active forward": (lambda x, g, y: shift.active_shift(x, u, stride), in_bytes + out_bytes),
        "active x's gradient": (lambda x, g, y: shift.active_shift_grad_x(g, u, H, W, stride), in_bytes + out_bytes),
        "depthwise forward": (lambda x, g, y: F.conv2d(x, weight, None, stride, 1, 1, C), in_bytes + out_bytes),
        "depthwise backward": (conv_back, 3 * in_bytes / 2 + out_bytes),
    }


torch.backends.cudnn.benchmark = True
shapes = [(256, 96, 56, 56, 1), (512, 192, 28, 28, 1), (1024, 384, 14, 14, 1), (256, 192, 56, 56, 2), (1024, 96, 32, 32, 1)]
results = []
print(torch.cuda.get_device_name(), "torch", torch.__version__)
for (N, C, H, W, stride), dtype, last, sparsity in [
        (s, d, l, p) for s in shapes for d in (torch.float32, torch.bfloat16) for l in (False, True) for p in (0.6,)
] + [(shapes[0], d, l, p) for d in (torch.float32, torch.bfloat16) for l in (False, True) for p in (0.0, 1.0)]:
    form = torch.channels_last if last else torch.contiguous_format
    sets = []
    for _ in range(3):
        x = torch.randn(N, C, H, W, device="cuda", dtype=dtype).contiguous(memory_format=form)
        grad = torch.randn(N, C, -(-H // stride), -(-W // stride), device="cuda", dtype=dtype).contiguous(memory_format=form)
        sets.append((x, grad, torch.empty_like(x)))
    rows = contenders(*sets[0][:2], sparsity, stride, last)
    times = {name: [] for name in rows}
    for name, (call, _) in rows.items():
        timed(call, sets)
    for _ in range(ROUNDS):
        for name, (call, _) in rows.items():
            times[name].append(timed(call, sets))
    copy = rows["copy"][1] / statistics.median(times["copy"])
    label = f"{N}x{C}x{H}x{W} stride {stride} {str(dtype)[6:]} {'channels_last' if last else 'contiguous'} {int(100 * sparsity)}% unshifted"
    print(f"\n{label}: copy {copy / 1e9:.2f} TB/s")
    for name, (_, size) in rows.items():
        ms = statistics.median(times[name])
        share = size / ms / copy
        results.append({"tensor": label, "what": name, "ms": ms, "min_ms": min(times[name]), "max_ms": max(times[name]), "of_a_copy": share})
        print(f"  {name:24} {ms:8.3f} ms ({min(times[name]):.3f} to {max(times[name]):.3f})  {100 * share:5.0f}% of a copy")
    del sets
if len(sys.argv) > 2:
    with open(sys.argv[2], "w") as file:
        json.dump({"gpu": torch.cuda.get_device_name(), "torch": torch.__version__, "rows": results}, file, indent=1)
