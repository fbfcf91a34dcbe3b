"""Reads .safetensors files: eight bytes of length, a JSON header, raw tensors. SPDX-License-Identifier: Apache-2.0"""
from __future__ import annotations

import json
import math
import os
from pathlib import Path

import torch
from torch import Tensor

_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
           "I64": torch.int64, "I32": torch.int32, "U8": torch.uint8, "BOOL": torch.bool}  # fmt: skip


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _tensor(field: object, data: memoryview) -> Tensor:
    """Raises ValueError, saying what is wrong with its field of the header."""
    if not isinstance(field, dict) or not isinstance(field.get("dtype"), str) or field["dtype"] not in _DTYPES:
        raise ValueError("no dtype, or an unknown one")
    dtype, shape, offsets = _DTYPES[field["dtype"]], field.get("shape"), field.get("data_offsets")
    if not isinstance(shape, list) or not all(map(_is_whole, shape)):
        raise ValueError("its shape is not a list of whole numbers")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_whole, offsets)):
        raise ValueError("its data_offsets are not two whole numbers")
    begin, end = offsets
    if not begin <= end <= len(data):
        raise ValueError("its bytes lie outside the file (cut off?)")
    if end - begin != math.prod(shape) * dtype.itemsize:
        raise ValueError("its bytes do not fit its shape")
    raw = bytearray(data[begin:end])
    return torch.frombuffer(raw, dtype=dtype).reshape(shape) if raw else torch.empty(shape, dtype=dtype)


def read_safetensors(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors by name, and the metadata. Raises ValueError, naming the file and the field that is wrong."""
    data = memoryview(Path(path).read_bytes())
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > len(data) - 8:
        raise ValueError(f"{path}: is no safetensors file, or cut off")
    try:
        header = json.loads(bytes(data[8 : 8 + length]))
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise ValueError(f"{path}: header: is not a JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError(f"{path}: header: __metadata__ is not an object of strings")
    metadata.pop("checksum", None)  # of the whole file: the program looks at it
    tensors = {}
    for name, field in header.items():
        try:
            tensors[name] = _tensor(field, data[8 + length :])
        except ValueError as error:
            raise ValueError(f"{path}: header: tensor {name}: {error}") from None
    if sum(t.numel() * t.element_size() for t in tensors.values()) != len(data) - 8 - length:
        raise ValueError(f"{path}: header: tensors overlap or leave holes")
    return tensors, metadata
