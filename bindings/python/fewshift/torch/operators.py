"""The shift operators, in C++ where they can be had, else in PyTorch. SPDX-License-Identifier: Apache-2.0"""
from __future__ import annotations

import torch
from torch import Tensor

from . import python_operators
from ._library import DEVICES


def sparse_shift(x: Tensor, displacement: Tensor, stride: int = 1) -> Tensor:
    """Moves every channel by its displacement, rounded to whole pixels (half to even).

        y[n,c,i,j] = x[n,c, stride*i + round(dy[c]), stride*j + round(dx[c])],    0 where that lies outside of x

    The gradient for x is the exact adjoint; that for the displacement is the slope of bilinear interpolation at its
    real value, since rounding has none ("All You Need is a Few Shifts", CVPR 2019).

    x: [N,C,H,W], float32, float64, bfloat16 or, on a GPU, float16. displacement: [C,2], (dy, dx) in pixels, float32 or
    float64. stride: 1 or 2. Returns [N,C,ceil(H/stride),ceil(W/stride)] of x's type and memory format. Under autocast,
    x keeps its type and the displacement its precision."""
    if x.device.type in DEVICES:
        return torch.ops.fewshift.sparse_shift(x, displacement, stride)
    return python_operators.sparse_shift(x, displacement, stride)


def active_shift(x: Tensor, displacement: Tensor, stride: int = 1) -> Tensor:
    """Reads every channel at its real-valued displacement, interpolated between four pixels, each 0 outside of x; both
    gradients are those of that ("Constructing Fast Network through Deconstruction of Convolution", NeurIPS 2018).
    Arguments and result as of sparse_shift."""
    if x.device.type in DEVICES:
        return torch.ops.fewshift.active_shift(x, displacement, stride)
    return python_operators.active_shift(x, displacement, stride)
