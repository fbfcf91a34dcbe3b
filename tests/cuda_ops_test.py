"""torch.ops.fewshift on a GPU against the CPU, whose results have tests of their own: every type and layout,
random shapes, displacements beyond the image, exact halves, NaN; backward passes; gradients that repeat.

    python3 tests/cuda_ops_test.py build/cuda/libfewshift_torch.so
"""
import itertools
import random
import sys

import torch

torch.ops.load_library(sys.argv[1])
ops = {"sparse": torch.ops.fewshift.sparse_shift, "active": torch.ops.fewshift.active_shift}
rounding = {torch.float64: 1e-12, torch.float32: 2e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}


def run(op, x, u, stride, grad):
    x, u = x.detach().requires_grad_(), u.detach().requires_grad_()
    y = op(x, u, stride)
    y.backward(grad.to(y.device, y.dtype))
    return y.detach(), x.grad, u.grad


def distance(a, b):
    a, b = a.double().cpu(), b.double()
    size = b.abs().max().item() if b.numel() else 0.0
    return ((a - b).abs().max().item() if b.numel() else 0.0) / (size or 1.0)


def case(rng):
    side = lambda: rng.choice([1, 2, 3, 5, 7, 8, 14, 16, 33])
    N, C = rng.choice([1, 2, 5]), rng.choice([1, 2, 3, 16, 24, 31, 64, 65, 130, 300])
    H, W, stride, reach = side(), side(), rng.choice([1, 2]), rng.choice([0.4, 1.5, 3, 12, 1e7])
    u = (torch.rand(C, 2, dtype=torch.float64) * 2 - 1) * reach
    if rng.random() < 0.3:
        u = (u * 2).round() / 2
    if rng.random() < 0.1:
        u[0] = torch.tensor([float("nan"), float("inf")])
    return N, C, H, W, stride, u


rng = random.Random(1)
torch.manual_seed(1)
checked = 0
for round_ in range(60):
    N, C, H, W, stride, u = case(rng)
    for (name, op), dtype, last in itertools.product(ops.items(), rounding, (False, True)):
        x = torch.randn(N, C, H, W, dtype=torch.float64).to(dtype)
        displacement = u if dtype == torch.float64 or rng.random() < 0.2 else u.float()
        grad = torch.randn(N, C, -(-H // stride), -(-W // stride), dtype=torch.float64).to(dtype)
        # float16 has no kernel on the CPU; its values are float32's too.
        plain = x.float() if dtype == torch.float16 else x
        want = run(op, plain, displacement, stride, grad.to(plain.dtype))
        there = x.cuda()
        if last:
            there = there.contiguous(memory_format=torch.channels_last)
        if rng.random() < 0.2:  # an address that is aligned to nothing
            there = torch.cat([there[:1].flatten()[:1], there.flatten()])[1:].view_as(there) if not last else there
        got = run(op, there, displacement.cuda(), stride, grad.cuda())
        where = f"{name} {dtype} {'channels_last' if last else 'contiguous'} {(N, C, H, W)} stride {stride}"
        if name == "sparse":
            assert torch.equal(got[0].cpu().to(want[0].dtype), want[0]), where
            assert torch.equal(got[1].cpu().to(want[1].dtype), want[1]), where
        for part, a, b in zip(("result", "x's gradient", "displacement's gradient"), got, want):
            limit = rounding[dtype] if part != "displacement's gradient" else max(rounding[dtype], 1e-4)
            assert distance(a, b) < limit or not b.isfinite().all(), f"{where}: {part} {distance(a, b)}"
        again = run(op, there, displacement.cuda(), stride, grad.cuda())
        assert torch.equal(again[2].nan_to_num(), got[2].nan_to_num()), f"{where}: gradients differ from run to run"
        checked += 1

x = torch.randn(2, 3, 5, 6, dtype=torch.float64, device="cuda", requires_grad=True)
u = (torch.rand(3, 2, dtype=torch.float64, device="cuda") * 3 - 1.5).requires_grad_()
for stride in (1, 2):
    assert torch.autograd.gradcheck(lambda a, b: ops["active"](a, b, stride), (x, u))
for shape in ((0, 3, 4, 4), (2, 0, 4, 4), (2, 3, 0, 4)):
    empty = torch.empty(shape, device="cuda")
    assert ops["sparse"](empty, torch.zeros(shape[1], 2, device="cuda"), 1).shape == torch.Size(shape)
with torch.autocast("cuda", torch.bfloat16):
    assert ops["sparse"](x.detach().bfloat16(), u.detach().float(), 1).dtype == torch.bfloat16
compiled = torch.compile(lambda a, b: ops["sparse"](a, b, 1).sum(), fullgraph=True)
assert torch.allclose(compiled(x, u), ops["sparse"](x, u, 1).sum())
print(f"{checked} passed, 0 failed")
