"""Sparse shift layers for PyTorch, and the networks that `fewshift train` has trained.

    from fewshift.torch import SparseShift2d, load, parameter_groups, shift_penalty

    block = nn.Sequential(nn.Conv2d(32, 96, 1), nn.BatchNorm2d(96), nn.ReLU(), SparseShift2d(96), nn.Conv2d(96, 32, 1))
    network = load("runs/first")

The operators are those of libfewshift_torch.so where it was built for the installed torch, else PyTorch's own, with
equal results: backend() says which. FEWSHIFT_TORCH_LIBRARY names the library, FEWSHIFT_TORCH_BACKEND=python does
without. SPDX-License-Identifier: Apache-2.0"""
from ._library import backend
from .checkpoint import load
from .displacements import as_convolutions, displacements, parameter_groups, shift_penalty, shift_sparsity
from .layers import ActiveShift2d, SparseShift2d
from .models import Network, create_model, models
from .operators import active_shift, sparse_shift

__all__ = [
    "ActiveShift2d",
    "Network",
    "SparseShift2d",
    "active_shift",
    "as_convolutions",
    "backend",
    "create_model",
    "displacements",
    "load",
    "models",
    "parameter_groups",
    "shift_penalty",
    "shift_sparsity",
    "sparse_shift",
]
