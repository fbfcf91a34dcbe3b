"""The displacements of a whole network: penalty, sparsity, learning rate, and what exports instead of them.
SPDX-License-Identifier: Apache-2.0"""
from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from .layers import ShiftLayer


def displacements(module: nn.Module) -> dict[str, nn.Parameter]:
    """Of every shift layer, by its parameter's name: [C,2], (dy, dx) in pixels."""
    layers = ((name, layer) for name, layer in module.named_modules() if isinstance(layer, ShiftLayer))
    return {f"{name}.displacement" if name else "displacement": layer.displacement for name, layer in layers}


def shift_penalty(module: nn.Module) -> Tensor:
    """The L1 norm of all displacements, px: add it to the loss, times a lambda (1e-4 to 1e-3)."""
    return sum((u.abs().sum() for u in displacements(module).values()), torch.zeros(()))


@torch.no_grad()
def shift_sparsity(module: nn.Module) -> float:
    """The share of channels whose rounded displacement is (0,0); 1 where there are none."""
    still = [(u.round() == 0).all(1) for u in displacements(module).values()]
    return sum(int(s.sum()) for s in still) / (sum(map(len, still)) or 1) if still else 1.0


def parameter_groups(
    module: nn.Module, lr: float, displacement_lr: float | None = None, weight_decay: float = 0.0
) -> list[dict[str, Any]]:
    """For a torch.optim optimiser: weights, with weight decay; biases and norms, without; displacements, without, at a
    rate of their own (by default ten times the others': at the same rate they hardly move). Groups have a "name"."""
    shifts = {id(u) for u in displacements(module).values()}
    groups: list[dict[str, Any]] = [
        {"name": "weights", "params": [], "lr": lr, "weight_decay": weight_decay},
        {"name": "biases and norms", "params": [], "lr": lr, "weight_decay": 0.0},
        {"name": "displacements", "params": [], "weight_decay": 0.0},
    ]
    groups[2]["lr"] = 10 * lr if displacement_lr is None else displacement_lr
    for parameter in module.parameters():
        if parameter.requires_grad:
            groups[2 if id(parameter) in shifts else 0 if parameter.dim() > 1 else 1]["params"].append(parameter)
    return [group for group in groups if group["params"]]


def as_convolutions(module: nn.Module) -> nn.Module:
    """A copy whose shift layers are depthwise convolutions with the displacements of now, fixed: it gives the same
    results and consists of standard operators, for torch.export, torch.onnx.export and other tools."""
    if isinstance(module, ShiftLayer):
        return module.to_conv()
    module = copy.deepcopy(module)
    for parent in list(module.modules()):
        for name, layer in parent.named_children():
            if isinstance(layer, ShiftLayer):
                setattr(parent, name, layer.to_conv())
    return module
