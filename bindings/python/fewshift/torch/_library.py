"""Finds libfewshift_torch.so, the operators in C++, and loads it where it was built for the torch that is installed.
SPDX-License-Identifier: Apache-2.0"""
from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path

import torch

_NAME = "libfewshift_torch" + (".dylib" if sys.platform == "darwin" else ".so")


def _is_loaded() -> bool:
    return hasattr(torch.ops.fewshift, "sparse_shift") and hasattr(torch.ops.fewshift, "active_shift")


def _find() -> Path | None:
    """Beside this file, or in build/release of the source checkout that this file is in."""
    here = Path(__file__).resolve().parent
    folders = [here]
    if here.parents[1:3] == (here.parents[3] / "bindings" / "python", here.parents[3] / "bindings"):
        folders.append(here.parents[3] / "build" / "release")
    return next((folder / _NAME for folder in folders if (folder / _NAME).is_file()), None)


def _problem(library: Path) -> str | None:
    """Loads `library`. What keeps it from being used, or None. Beside it, libfewshift_torch.json says which torch it
    was built for, {"torch": "2.13.0"}: with another one, loading may do anything. Without that file it is tried."""
    stamp, installed = library.with_suffix(".json"), torch.__version__.split("+")[0]
    try:
        built_for = json.loads(stamp.read_text())["torch"] if stamp.is_file() else installed
    except (OSError, ValueError, KeyError, TypeError):
        return f'{stamp}: is not of the form {{"torch": "2.13.0"}}'
    if built_for != installed:
        return f"{library}: was built for torch {built_for}, and this is torch {installed}"
    try:
        torch.ops.load_library(str(library))
    except (OSError, RuntimeError) as error:
        return f"{library}: {error}"
    return None if _is_loaded() else f"{library}: has no operators of fewshift's"


def _load() -> bool:
    """Whether the operators in C++ are there."""
    wanted, given = os.environ.get("FEWSHIFT_TORCH_BACKEND", ""), os.environ.get("FEWSHIFT_TORCH_LIBRARY")
    if wanted not in ("", "c++", "python"):
        raise ImportError(f'FEWSHIFT_TORCH_BACKEND must be "c++" or "python", but is "{wanted}"')
    if wanted == "python":
        return False
    if _is_loaded():
        return True
    library = Path(given) if given else _find()
    problem = _problem(library) if library else f"{_NAME} was not found; FEWSHIFT_TORCH_LIBRARY may name it"
    if problem and (wanted or given):  # asked for by name: nothing else will do
        raise ImportError(problem)
    if problem and library:
        warnings.warn(f"{problem}. The operators in Python take its place; they are slower.", stacklevel=2)
    return problem is None


def _devices() -> frozenset[str]:
    """The types of device whose tensors the operators in C++ take: a build without CUDA knows no GPU."""
    if not _load():
        return frozenset()
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
    keys = {"cpu": "CPU", "cuda": "CUDA", "meta": "Meta"}
    return frozenset(device for device, key in keys.items() if has_kernel("fewshift::sparse_shift", key))


DEVICES = _devices()


def backend() -> str:
    """ "c++" where libfewshift_torch.so does the work, "python" where PyTorch's own operators do."""
    return "c++" if DEVICES else "python"
