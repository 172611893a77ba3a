"""Read weight files into NumPy arrays without running any code in them, and write them.

`.safetensors` files and Keras's own `.h5` files need no PyTorch; the other kinds do.
"""

from __future__ import annotations

import io
import json
import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import ml_dtypes  # gives NumPy the bfloat16 that safetensors asks it for
import numpy as np
import safetensors
import safetensors.numpy

from kmtard.networks.standardization import Standardization
from kmtard.runs.files import whole_hdf5, write_atomic

SUFFIXES = (".pt", ".pth", ".safetensors")
"""Endings of the PyTorch weight files that can be written."""

READ_SUFFIXES = (*SUFFIXES, ".tar", ".t7", ".ckpt", ".bin", ".th")
"""Endings of the files that can be read; a name without an ending is also accepted."""

NESTS = (
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "student",
    "weights",
    "params",
    "ema_state_dict",
    "best",
    "last",
)
"""Keys under which a checkpoint may hold its weights."""

NOTE = "kmtard_standardization"
DEEPEST = 4

# Classes of objects that training scripts save with the weights. They are replaced by a
# stand-in, so that no code of these modules runs.
BYSTANDERS = (
    "argparse.Namespace",
    "types.SimpleNamespace",
    "pathlib.PosixPath",
    "pathlib.WindowsPath",
    "pathlib._local.PosixPath",
    "pathlib._local.WindowsPath",
    "numpy.dtype",
    "numpy.ndarray",
    *(
        f"numpy.{core}.multiarray.{name}"
        for core, name in product(("core", "_core"), ("scalar", "_reconstruct"))
    ),
)


class StateDict(dict[str, np.ndarray]):
    """The arrays of a weight file by key; floats are float32 or float64.

    Attributes:
        nest: the keys that lead to the weights in a checkpoint, joined by dots.
        constants: the standardization of the images that the file records next to the
            weights; None if the file does not record it.
    """

    nest: str = ""
    constants: Standardization | None = None


def read(path: str | os.PathLike[str], *, nest: str | None = None) -> StateDict:
    """Read a state dict from a file, even if it is nested in a checkpoint.

    Args:
        path: a `.safetensors` file, or a PyTorch file with an ending in
            `READ_SUFFIXES` or without an ending.
        nest: the key of the weights to read, if a checkpoint has several sets.

    Returns:
        The arrays by key.

    Raises:
        ImportError: the file needs PyTorch, which is not installed.
        OSError: the file cannot be opened.
        ValueError: the file is of another kind or damaged, or holds no state dict, or
            holds several different ones and `nest` is None.
    """
    path = Path(path)
    if not is_pytorch(path):
        raise _wrong_ending(path, READ_SUFFIXES)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    return _read_torch(path, nest)


def is_pytorch(path: str | os.PathLike[str]) -> bool:
    """Return whether a file's name has an ending that `read` accepts."""
    suffix = Path(path).suffix
    return suffix in READ_SUFFIXES or not suffix


def write(
    path: str | os.PathLike[str],
    tensors: Mapping[str, np.ndarray],
    *,
    constants: Standardization | None = None,
) -> None:
    """Write a state dict to a file.

    The write is atomic: an existing file is replaced only by a complete new one.

    Args:
        path: a `.pt`, `.pth` or `.safetensors` file, in an existing folder.
        tensors: the arrays by key.
        constants: the standardization of the images. It is recorded as metadata for
            `read`; PyTorch ignores it.

    Raises:
        ImportError: the file needs PyTorch, which is not installed.
        RunError: the file cannot be written.
        ValueError: the name has another ending.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise _wrong_ending(path, SUFFIXES)
    safe = path.suffix == ".safetensors"
    encode = _encode_safetensors if safe else _encode_torch
    note = json.dumps(constants._asdict()) if constants and constants.mean else None
    write_atomic(path, encode(tensors, note))


def check_h5(path: str | os.PathLike[str]) -> None:
    """Check that an HDF5 file holds the weights of a Keras model and nothing else.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it holds a whole model, or no Keras weights.
    """
    with h5py.File(path) as file:
        whole = "model_config" in file.attrs
        older = "layer_names" in file.attrs
    if whole:
        raise ValueError(whole_hdf5(path))
    if not older and not str(path).endswith(".weights.h5"):
        raise ValueError(
            f"{path} must hold the weights of a Keras model. Received: an HDF5 file "
            "without layer names. If Keras 3 saved it, rename it to end in "
            ".weights.h5."
        )


def _wrong_ending(path: Path, suffixes: tuple[str, ...]) -> ValueError:
    return ValueError(
        f"A file of PyTorch weights must end in {', '.join(suffixes)}. "
        f"Received: {str(path)!r}."
    )


def _torch() -> Any:
    if find_spec("torch") is None:
        raise ImportError(
            "Files of PyTorch need PyTorch: install kmtard[torch], or use a "
            ".safetensors file, which does not need it."
        )
    import torch

    return torch


class _StandIn:
    """Replaces an object in a checkpoint; it stores nothing and runs nothing."""

    def __new__(cls, *args: object, **kwargs: object) -> _StandIn:
        return object.__new__(cls)

    def __init__(self, *args: object, **kwargs: object) -> None:
        del args, kwargs

    def __setstate__(self, state: object) -> None:
        del state


def _read_torch(path: Path, nest: str | None) -> StateDict:
    torch = _torch()
    harmless = [(_StandIn, name) for name in BYSTANDERS]
    with open(path, "rb") as file, torch.serialization.safe_globals(harmless):
        try:
            content = torch.load(file, map_location="cpu", weights_only=True)
        # torch.load raises many types for a damaged file: EOFError, KeyError, ...
        except Exception as error:
            raise ValueError(
                f"{path} must be a PyTorch file of plain tensors. It is damaged, or of "
                "another kind. Whole models and plain pickles are refused, because "
                "reading one can run any code in it. Save the file again with "
                "torch.save(model.state_dict(), path).\n"
                f"PyTorch says: {(str(error) or repr(error)).splitlines()[0]}"
            ) from error
    found = _unnested(path, content, torch.Tensor, nest)
    arrays = StateDict(
        (key, (each.float() if each.is_floating_point() else each).detach().numpy())
        for key, each in found.tensors.items()
    )
    arrays.nest = ".".join(found.nests)
    arrays.constants = _noted(path, getattr(found.tensors, NOTE, None))
    return arrays


class _Found(NamedTuple):
    """A state dict and the keys that lead to it."""

    nests: tuple[str, ...]
    tensors: Mapping[str, Any]

    @property
    def name(self) -> str:
        return ".".join(self.nests)


def _unnested(path: Path, content: Any, kind: type, nest: str | None) -> _Found:
    found = list(_state_dicts(content, kind))
    if nest is not None:
        found = [each for each in found if nest in (*each.nests, each.name)]
    if not found:
        raise ValueError(_no_state_dict(path, content, kind, nest))
    first, *others = found
    if any(not _same(first.tensors, other.tensors) for other in others):
        names = ", ".join(each.name for each in found)
        raise ValueError(
            f"{path} holds several sets of weights, under {names}. Choose one with "
            f"nest={first.name!r} in code, or write it to a separate file with "
            f"`kmtard convert --nest {first.name}`."
        )
    return first


def _state_dicts(
    content: Any, kind: type, nests: tuple[str, ...] = ()
) -> Iterator[_Found]:
    # A dict may contain itself.
    if not isinstance(content, Mapping) or len(nests) > DEEPEST:
        return
    if content and not _odd_keys(content, kind):
        yield _Found(nests, content)
        return
    for name in NESTS:
        yield from _state_dicts(content.get(name), kind, (*nests, name))


def _odd_keys(content: Mapping[Any, Any], kind: type) -> list[Any]:
    return [
        key
        for key, value in content.items()
        if not (isinstance(key, str) and isinstance(value, kind))
    ]


def _same(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    return ours.keys() == theirs.keys() and all(
        each.shape == theirs[key].shape and bool((each == theirs[key]).all())
        for key, each in ours.items()
    )


def _no_state_dict(path: Path, content: Any, kind: type, nest: str | None) -> str:
    nests: list[str] = []
    while isinstance(content, Mapping) and len(nests) <= DEEPEST:
        inner = [n for n in NESTS if isinstance(content.get(n), Mapping)]
        if not inner:
            break
        nests.append(inner[0])
        content = content[inner[0]]
    if isinstance(content, Mapping) and content:
        odd = _odd_keys(content, kind)
        received = f"no named tensor at {', '.join(map(repr, odd[:10]))}"
        if not odd:
            received = "tensors"
    else:
        received = f"{type(content).__name__} {str(content)[:40]}"
    expected = f"under {nest!r}" if nest else f"bare or under {', '.join(NESTS)}"
    where = f" under {'.'.join(nests)}" if nests else ""
    return (
        f"{path} must hold a state dict (tensors by name), {expected}. "
        f"Received: {received}{where}."
    )


def _noted(path: Path, note: object) -> Standardization | None:
    if note is None:
        return None
    try:
        values = json.loads(str(note))
        mean, std = (tuple(map(float, values[key])) for key in ("mean", "std"))
        if len(mean) != len(std) or any(each <= 0 for each in std):
            raise ValueError(note)
    except (LookupError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is damaged: its metadata {NOTE!r} must have one mean and one "
            f"positive std per channel. Received: {str(note)[:80]!r}."
        ) from error
    return Standardization(mean, std)


def _encode_torch(tensors: Mapping[str, np.ndarray], note: str | None) -> bytes:
    torch = _torch()
    content = OrderedDict(
        (key, torch.from_numpy(np.array(each))) for key, each in tensors.items()
    )
    if note:
        # An attribute, like PyTorch's own `_metadata`: it is saved with the dict, but
        # load_state_dict(strict=True) checks only the keys.
        setattr(content, NOTE, note)
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def _read_safetensors(path: Path) -> StateDict:
    try:
        with safetensors.safe_open(path, "numpy") as file:
            arrays = StateDict((key, file.get_tensor(key)) for key in file.keys())
            note = (file.metadata() or {}).get(NOTE)
    # Floats of 8 bits raise AttributeError: the library looks for them in NumPy.
    except (safetensors.SafetensorError, AttributeError) as error:
        raise ValueError(
            f"{path} must be a complete .safetensors file of integers, booleans and "
            f"floats of 16, 32 or 64 bits. Received: {error}."
        ) from error
    for key, array in arrays.items():
        if array.dtype in (np.float16, ml_dtypes.bfloat16):
            arrays[key] = array.astype(np.float32)
    arrays.constants = _noted(path, note)
    return arrays


def _encode_safetensors(tensors: Mapping[str, np.ndarray], note: str | None) -> bytes:
    # The library copies the memory of an array without regard to its strides.
    contiguous = {key: np.array(each, order="C") for key, each in tensors.items()}
    metadata = {"format": "pt"} | ({NOTE: note} if note else {})
    return safetensors.numpy.save(contiguous, metadata)
