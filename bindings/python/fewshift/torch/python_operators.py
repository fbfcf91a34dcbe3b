"""The shift operators in PyTorch alone: what stands in for libfewshift_torch.so, with equal results.

Every channel is looked up at rows and columns of its own (torch.gather), forward and backward, so that nothing loops
over channels, nothing waits for a GPU, and torch.compile sees through all of it. SPDX-License-Identifier: Apache-2.0"""
from __future__ import annotations

from typing import Callable

import torch
from torch import Tensor

_FAR = 1 << 20  # px: where a channel looks whose displacement leaves any image, is infinite or NaN
_LOW = (torch.bfloat16, torch.float16)


def _whole(u: Tensor, rounding: Callable[[Tensor], Tensor]) -> Tensor:
    return torch.where(u.abs() < _FAR, rounding(u), _FAR).long()


def _fraction(u: Tensor) -> Tensor:
    fraction = u - u.floor()
    return torch.where(fraction >= 0, fraction, 0)


def _sources(size: int, moves: Tensor, stride: int, adjoint: bool) -> Tensor:
    """Which row (or column) each of `size` of the result reads, for moves [C]: [C,size], beyond the map for none."""
    at = torch.arange(size, device=moves.device)
    if not adjoint:
        return stride * at + moves[:, None]
    at = at - moves[:, None]
    return at if stride == 1 else torch.where(at % stride == 0, at // stride, -1)


def _look_up(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """x [N,C,H,W] at rows [C,H'] and columns [C,W']: [N,C,H',W'] in x's memory format, 0 outside of x."""
    n, c, h, w = x.shape
    if x.numel() == 0:
        return x.new_zeros(n, c, rows.shape[1], columns.shape[1])
    outside = ((rows < 0) | (rows >= h))[:, :, None] | ((columns < 0) | (columns >= w))[:, None]
    places = (rows.clamp(0, h - 1) * w)[:, :, None] + columns.clamp(0, w - 1)[:, None]
    if x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous():
        places, outside = (t.permute(1, 2, 0).contiguous() for t in (places, outside))  # [H',W',C]
        pixels = x.permute(0, 2, 3, 1).reshape(n, h * w, c)
        y = pixels.gather(1, places.flatten(0, 1).expand(n, -1, -1)).view(n, *places.shape)
        return y.masked_fill_(outside, 0).permute(0, 3, 1, 2)
    y = x.reshape(n, c, h * w).gather(2, places.flatten(1).expand(n, -1, -1)).view(n, *places.shape)
    return y.masked_fill_(outside, 0)


class _Corners:
    """The four pixels around each of the result's, (k,l) from the displacement's floor, looked up together."""

    def __init__(self, x: Tensor, u: Tensor, stride: int, size: tuple[int, int], adjoint: bool = False) -> None:
        self.size, self.adjoint, self.step = size, adjoint, 1 if adjoint else stride
        rows, columns = (_whole(u[:, k], torch.floor) for k in (0, 1))
        if adjoint:  # it reads from one before
            rows, columns = (_sources(n + 1, a + 1, stride, True) for n, a in zip(size, (rows, columns)))
        else:
            rows, columns = (_sources(stride * n + 1, a, 1, False) for n, a in zip(size, (rows, columns)))
        self.pixels = _look_up(x, rows, columns).to(torch.promote_types(x.dtype, torch.float32))
        self.p, self.q = _fraction(u[:, 0]), _fraction(u[:, 1])

    def at(self, k: int, l: int) -> Tensor:
        if self.adjoint:
            k, l = 1 - k, 1 - l
        return self.pixels[:, :, k :: self.step, l :: self.step][:, :, : self.size[0], : self.size[1]]


def _move(x: Tensor, u: Tensor, stride: int, size: tuple[int, int], interpolated: bool, adjoint: bool) -> Tensor:
    """The shift to a map of `size`, or the adjoint of the shift from one of `size`."""
    if not interpolated:
        moves = (_whole(u[:, k], torch.round) for k in (0, 1))
        return _look_up(x, *(_sources(extent, move, stride, adjoint) for extent, move in zip(size, moves)))
    z = _Corners(x, u, stride, size, adjoint)
    p, q = z.p[:, None, None], z.q[:, None, None]
    weights = [w.to(z.pixels.dtype) for w in ((1 - p) * (1 - q), (1 - p) * q, p * (1 - q), p * q)]
    y = weights[0] * z.at(0, 0)
    for weight, corner in zip(weights[1:], ((0, 1), (1, 0), (1, 1))):
        y = torch.addcmul(y, weight, z.at(*corner))
    return y.to(x.dtype)


def _displacement_gradient(grad: Tensor, x: Tensor, u: Tensor, stride: int) -> Tensor:
    """That of bilinear interpolation at u, from four correlations of each channel."""
    z = _Corners(x, u, stride, (grad.shape[2], grad.shape[3]))
    grad = grad.to(z.pixels.dtype)
    s00, s01, s10, s11 = ((grad * z.at(k, l)).sum((0, 2, 3)) for k in (0, 1) for l in (0, 1))
    by_row = (1 - z.q) * (s10 - s00) + z.q * (s11 - s01)
    by_column = (1 - z.p) * (s01 - s00) + z.p * (s11 - s10)
    return torch.stack([by_row, by_column], 1).to(u.dtype)


class _Shift(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, u: Tensor, stride: int, interpolated: bool) -> Tensor:
        size = (-(-x.shape[2] // stride), -(-x.shape[3] // stride))
        return _move(x, u, stride, size, interpolated, False)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        x, u, ctx.stride, ctx.interpolated = inputs
        ctx.size = (x.shape[2], x.shape[3])
        # x is kept only where the displacement learns: frozen shifts cost no memory.
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, u)

    @staticmethod
    def backward(ctx, grad: Tensor):
        x, u = ctx.saved_tensors
        grad_x = grad_u = None
        if ctx.needs_input_grad[0]:
            grad_x = _move(grad, u, ctx.stride, ctx.size, ctx.interpolated, True)
        if ctx.needs_input_grad[1]:
            grad_u = _displacement_gradient(grad, x, u, ctx.stride)
        return grad_x, grad_u, None, None


def _shift(name: str, x: Tensor, displacement: Tensor, stride: int, interpolated: bool) -> Tensor:
    if displacement.dtype in _LOW and torch.is_autocast_enabled(x.device.type):
        displacement = displacement.float()
    if x.dim() != 4:
        raise RuntimeError(f"{name}: x must be [N,C,H,W], but has {x.dim()} dimensions")
    if displacement.dim() != 2 or displacement.shape[1] != 2 or displacement.shape[0] != x.shape[1]:
        raise RuntimeError(
            f"{name}: displacement must be [C,2] with C = {x.shape[1]}, but is {list(displacement.shape)}"
        )
    if stride not in (1, 2):
        raise RuntimeError(f"{name}: stride must be 1 or 2, but is {stride}")
    half = x.dtype == torch.float16 and x.device.type != "cpu"
    if not half and x.dtype not in (torch.float32, torch.float64, torch.bfloat16):
        raise RuntimeError(
            f"{name}: x must be float32, float64, bfloat16 or, on a GPU, float16, but is {x.dtype}"
        )
    if displacement.dtype not in (torch.float32, torch.float64):
        raise RuntimeError(f"{name}: displacement must be float32 or float64, but is {displacement.dtype}")
    return _Shift.apply(x, displacement, stride, interpolated)


def sparse_shift(x: Tensor, displacement: Tensor, stride: int = 1) -> Tensor:
    """fewshift.torch.sparse_shift in PyTorch alone."""
    return _shift("sparse_shift", x, displacement, stride, False)


def active_shift(x: Tensor, displacement: Tensor, stride: int = 1) -> Tensor:
    """fewshift.torch.active_shift in PyTorch alone."""
    return _shift("active_shift", x, displacement, stride, True)
