"""Files of weights, read into numpy arrays without running any code in them.

`.safetensors` needs no PyTorch, the others do, except Keras's own `.h5` files.
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
"""Of the files that are written."""

READ_SUFFIXES = (*SUFFIXES, ".tar", ".t7", ".ckpt", ".bin", ".th")
"""Of the files that are read; a name without any is read as PyTorch's too."""

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
"""Keys of a checkpoint under which its weights may lie."""

NOTE = "kmtard_standardization"
DEEPEST = 4

# What training scripts put beside the weights. A stand-in is read in its place, so that
# nothing of these modules runs.
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
    """Arrays by key as in the file; floats are float32 or float64.

    Attributes:
        nest: the keys under which they lay in a checkpoint, joined by dots.
        constants: the standardization of the images that the file notes beside them,
            None where it notes none.
    """

    nest: str = ""
    constants: Standardization | None = None


def read(path: str | os.PathLike[str], *, nest: str | None = None) -> StateDict:
    """Read a state dict, also one nested in a checkpoint.

    Args:
        path: a `.safetensors` file, or a PyTorch file with an ending of
            `READ_SUFFIXES` or with none.
        nest: the key of the checkpoint to read, where there are several.

    Raises:
        ImportError: a PyTorch file, and PyTorch is not installed.
        OSError: the file cannot be opened.
        ValueError: the file is of another kind, damaged, or holds no state dict, or
            several.
    """
    path = Path(path)
    if not is_pytorch(path):
        raise _wrong_ending(path, READ_SUFFIXES)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    return _read_torch(path, nest)


def is_pytorch(path: str | os.PathLike[str]) -> bool:
    """Tell by its name whether a file may be one that `read` can read."""
    suffix = Path(path).suffix
    return suffix in READ_SUFFIXES or not suffix


def write(
    path: str | os.PathLike[str],
    tensors: Mapping[str, np.ndarray],
    *,
    constants: Standardization | None = None,
) -> None:
    """Write a state dict, at once: an old file stays whole until the new one is.

    Args:
        path: a `.pt`, `.pth` or `.safetensors` file, in a folder that exists.
        tensors: arrays by key.
        constants: noted beside them where no class looks, for `read`.

    Raises:
        ImportError: a `.pt` or `.pth` file, and PyTorch is not installed.
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
    """Refuse an HDF5 file that holds no weights of a Keras model alone.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it holds a whole model, or something else.
    """
    with h5py.File(path) as file:
        whole = "model_config" in file.attrs
        older = "layer_names" in file.attrs
    if whole:
        raise ValueError(whole_hdf5(path))
    if not older and not str(path).endswith(".weights.h5"):
        raise ValueError(
            f"{path} must hold the weights of a Keras model. Received: an HDF5 file "
            "without the names of its layers. If Keras 3 saved it, rename it to end in "
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
            "PyTorch's files need PyTorch: install kmtard[torch], or convert the file "
            "to .safetensors, which does not."
        )
    import torch

    return torch


class _StandIn:
    """Takes the place of an object that is not wanted; keeps nothing, runs nothing."""

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
        # A damaged file raises nearly anything: EOFError, KeyError, RuntimeError, ...
        except Exception as error:
            raise ValueError(
                f"{path} is damaged, or no PyTorch file of plain tensors. Whole models "
                "and plain pickles are refused: reading one can run any code that its "
                "author put there. Where it was made, save it anew with "
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
            f"{path} holds several sets of weights, under {names}. Say which one: "
            f"nest={first.name!r} in code, or write it to a file of its own by "
            f"`kmtard convert --nest {first.name}`."
        )
    return first


def _state_dicts(
    content: Any, kind: type, nests: tuple[str, ...] = ()
) -> Iterator[_Found]:
    # A dict may hold itself.
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
        f"{path} must hold a state dict, tensors by name, {expected}. "
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
            f"{path} is damaged: its note {NOTE!r} must name a mean and a positive std "
            f"for each channel. Received: {str(note)[:80]}."
        ) from error
    return Standardization(mean, std)


def _encode_torch(tensors: Mapping[str, np.ndarray], note: str | None) -> bytes:
    torch = _torch()
    content = OrderedDict(
        (key, torch.from_numpy(np.array(each))) for key, each in tensors.items()
    )
    if note:
        # An attribute, like PyTorch's own `_metadata`: it is saved with the dict, and
        # load_state_dict(strict=True) sees the keys alone.
        setattr(content, NOTE, note)
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def _read_safetensors(path: Path) -> StateDict:
    try:
        with safetensors.safe_open(path, "numpy") as file:
            arrays = StateDict((key, file.get_tensor(key)) for key in file.keys())
            note = (file.metadata() or {}).get(NOTE)
    # Types of 8 bits raise AttributeError: the library looks for them in NumPy.
    except (safetensors.SafetensorError, AttributeError) as error:
        raise ValueError(
            f"{path} is not a whole .safetensors file of known types (whole numbers, "
            f"floats of 16, 32 or 64 bits, booleans): {error}."
        ) from error
    for key, array in arrays.items():
        if array.dtype in (np.float16, ml_dtypes.bfloat16):
            arrays[key] = array.astype(np.float32)
    arrays.constants = _noted(path, note)
    return arrays


def _encode_safetensors(tensors: Mapping[str, np.ndarray], note: str | None) -> bytes:
    # The library takes the memory of an array as it lies.
    contiguous = {key: np.array(each, order="C") for key, each in tensors.items()}
    metadata = {"format": "pt"} | ({NOTE: note} if note else {})
    return safetensors.numpy.save(contiguous, metadata)
