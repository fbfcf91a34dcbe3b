"""Networks that `fewshift train` has trained, as modules. SPDX-License-Identifier: Apache-2.0"""
from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch

from .models import Network, create_model
from .safetensors import read_safetensors

_FORMAT = "fewshift checkpoint 1"


def _checkpoint_path(run: Path) -> Path:
    if not run.is_dir():
        return run
    for name in ("best.safetensors", "last.safetensors"):
        if (run / name).is_file():
            return run / name
    raise FileNotFoundError(f"{run}: holds neither best.safetensors nor last.safetensors: is it a RUN folder?")


def _class_names(text: str) -> list[str]:
    names = json.loads(text)
    if not isinstance(names, list) or len(names) < 2 or not all(isinstance(name, str) for name in names):
        raise ValueError
    return names


def _preprocess(text: str) -> dict[str, Any]:
    recipe = json.loads(text)
    whole = all(isinstance(recipe[key], int) and 1 <= recipe[key] <= 4096 for key in ("size", "resize"))
    numbers = recipe["mean"] + recipe["std"]
    three = len(recipe["mean"]) == len(recipe["std"]) == 3 and all(isinstance(v, (int, float)) for v in numbers)
    if not (whole and three and recipe["size"] <= recipe["resize"] and min(recipe["std"]) > 0):
        raise ValueError
    return recipe


def load(run: str | os.PathLike[str]) -> Network:
    """The network of a RUN folder (of its best epoch, or else its last) or of a .safetensors checkpoint, in eval mode.

    It takes [N,3,H,W] float32, RGB, prepared as `preprocess` says: the short side resized to `resize` px, the middle
    `size` px square of it, divided by 255, less `mean`, divided by `std`; and gives logits [N,len(class_names)].
    `info` has the rest of the checkpoint's metadata. Raises ValueError, naming the file and the field, for what is no
    checkpoint or is damaged, and FileNotFoundError."""
    path = _checkpoint_path(Path(run))
    if path.suffix == ".onnx":
        raise ValueError(f"{path}: is an exported model; here a RUN folder or a .safetensors checkpoint is wanted")
    tensors, metadata = read_safetensors(path)
    if metadata.get("format") != _FORMAT:
        raise ValueError(f'{path}: metadata format: is {metadata.get("format", "missing")}, not "{_FORMAT}"')
    fields: dict[str, Any] = {}
    for key, read in (("model", str), ("class_names", _class_names), ("preprocess", _preprocess)):
        if key not in metadata:
            raise ValueError(f"{path}: metadata {key}: is missing")
        try:
            fields[key] = read(metadata[key])
        except (ValueError, TypeError, KeyError, RecursionError):
            raise ValueError(f"{path}: metadata {key}: is malformed") from None
    try:
        with torch.device("meta"):  # its weights are those of the file
            network = create_model(fields["model"], len(fields["class_names"]), metadata.get("shift", "ssl"))
    except ValueError as error:
        raise ValueError(f"{path}: metadata: {error}") from None

    # Where displacements started is of no use here.
    tensors = {name: tensor for name, tensor in tensors.items() if not name.endswith(".shift.start")}
    own = network.state_dict()
    for name in sorted(own.keys() | tensors.keys()):
        if name not in tensors or name not in own:
            raise ValueError(f"{path}: tensor {name}: {'is missing' if name in own else 'belongs to another model'}")
        dtype = torch.float32 if own[name].is_floating_point() else own[name].dtype
        if (tensors[name].shape, tensors[name].dtype) != (own[name].shape, dtype):
            raise ValueError(f"{path}: tensor {name}: is of another shape or type than the model's")
    network.load_state_dict(tensors, assign=True)
    network.class_names, network.preprocess = fields["class_names"], fields["preprocess"]
    network.info = {key: value for key, value in metadata.items() if key not in ("class_names", "preprocess")}
    return network.eval()
