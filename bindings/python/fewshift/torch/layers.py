"""Layers that move their channels, for networks of any kind. SPDX-License-Identifier: Apache-2.0"""
from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .operators import active_shift, sparse_shift


def grid_shifts(channels: int) -> Tensor:
    """The channels in equal groups over the 3x3 neighbourhood (grouped shift): [C,2], whole pixels."""
    cell = torch.arange(channels) * 9 // max(1, channels)
    return torch.stack([cell // 3 - 1, cell % 3 - 1], 1).to(torch.get_default_dtype())


def random_shifts(channels: int, sparsity: float) -> Tensor:
    """The share `sparsity` of the channels, chosen at random, stays; every other one moves to one of its eight
    neighbours at random: [C,2], whole pixels."""
    cell = torch.randint(8, (channels,))
    cell = torch.where(cell < 4, cell, cell + 1)
    cell[torch.randperm(channels)[round((1 - sparsity) * channels) :]] = 4
    return torch.stack([cell // 3 - 1, cell % 3 - 1], 1).to(torch.get_default_dtype())


class ShiftLayer(nn.Module):
    """What SparseShift2d and ActiveShift2d have in common: see there."""

    displacement: nn.Parameter

    def __init__(
        self,
        channels: int,
        stride: int = 1,
        displacement: Tensor | str | None = None,
        *,
        learned: bool = True,
        reach: float = 1.5,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(channels, int):
            raise TypeError(f"channels must be a whole number, but is {channels!r}")
        if channels < 1:
            raise ValueError(f"channels must be at least 1, but is {channels}")
        if stride not in (1, 2):
            raise ValueError(f"stride must be 1 or 2, but is {stride}")
        self.stride = stride
        start = torch.empty(channels, 2, device=device, dtype=dtype)
        with torch.no_grad():
            if displacement is None:
                start.uniform_(-reach, reach)
            elif isinstance(displacement, Tensor) and displacement.shape == start.shape:
                start.copy_(displacement)
            elif isinstance(displacement, str) and displacement == "grid":
                spread = 0.49 if learned else 0.0  # within the cell, so that no start lies on a kink
                start.uniform_(-spread, spread).add_(grid_shifts(channels).to(start))
            else:
                given = list(displacement.shape) if isinstance(displacement, Tensor) else repr(displacement)
                raise ValueError(f'displacement must be None, "grid" or of shape [{channels}, 2], but is {given}')
        self.displacement = nn.Parameter(start, requires_grad=learned)

    def _displacement(self) -> Tensor:
        """At least float32: a network in bfloat16 has it so, too."""
        u = self.displacement
        return u.float() if u.dtype in (torch.bfloat16, torch.float16) else u

    def moves(self) -> Tensor:
        """[C,2]: where each channel looks, px, as forward() has it."""
        raise NotImplementedError

    def to_conv(self) -> nn.Conv2d:
        """A depthwise convolution with the displacements of now, fixed, which does the same: torch.onnx.export and
        every runtime know it. Its kernels are as wide as the farthest channel looks."""
        u = self.moves().detach()
        farthest = u.abs().max().item()
        if not farthest <= 32:  # nor NaN
            raise ValueError(f"displacement: a channel looks {farthest:g} px away; a convolution, up to 32")
        reach = math.ceil(farthest)
        offsets = torch.arange(-reach, reach + 1, device=u.device)
        rows, columns = ((1 - (offsets - u[:, k, None]).abs()).clamp(min=0) for k in (0, 1))
        channels, kernel = len(u), 2 * reach + 1
        conv = nn.Conv2d(channels, channels, kernel, self.stride, reach, groups=channels, bias=False)
        conv.weight = nn.Parameter((rows[:, :, None] * columns[:, None])[:, None].to(self.displacement), False)
        return conv.train(self.training)

    def extra_repr(self) -> str:
        learned = "" if self.displacement.requires_grad else ", learned=False"
        return f"{len(self.displacement)}, stride={self.stride}{learned}"


class SparseShift2d(ShiftLayer):
    """The sparse shift layer of "All You Need is a Few Shifts" (CVPR 2019): every channel moves by a learned
    displacement, rounded to whole pixels. [N,C,H,W] -> [N,C,ceil(H/stride),ceil(W/stride)]; see sparse_shift.

    It mixes nothing across channels: put it between two pointwise convolutions. With shift_penalty in the loss, or
    with pruning, most channels come to stand still, and cost nothing.

    channels:     C
    stride:       1 or 2
    displacement: its start: None, uniformly in [-reach, reach]; "grid", the channels in equal groups over the 3x3
                  neighbourhood (grouped shift), spread within each cell where it is learned; or a tensor [C,2]
    learned:      whether the displacement takes part in training
    reach:        px

    Parameter `displacement`: [C,2], (dy, dx) in pixels. Its gradient is small: give it ten times the weights' learning
    rate, or Adam, and no weight decay (parameter_groups)."""

    def moves(self) -> Tensor:
        return self._displacement().round()

    def forward(self, x: Tensor) -> Tensor:
        return sparse_shift(x, self._displacement(), self.stride)


class ActiveShift2d(ShiftLayer):
    """The active shift layer of "Constructing Fast Network through Deconstruction of Convolution" (NeurIPS 2018):
    every channel is read at a learned, real-valued displacement, interpolated bilinearly. Shapes and arguments as of
    SparseShift2d; see active_shift."""

    def moves(self) -> Tensor:
        return self._displacement()

    def forward(self, x: Tensor) -> Tensor:
        return active_shift(x, self._displacement(), self.stride)
