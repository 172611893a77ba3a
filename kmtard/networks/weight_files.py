"""PyTorch's weight files, read into numpy arrays without running any code in them.

`.safetensors` needs numpy only, `.pt` and `.pth` need PyTorch.
"""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from kmtard.runs.files import write_atomic

SUFFIXES = (".pt", ".pth", ".safetensors")
NESTS = ("state_dict", "model_state_dict", "model", "net")
# bfloat16 is the upper half of a float32, which numpy can read.
SAFETENSORS_TYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "?",
}


def read(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read a state dict, also one nested in a checkpoint.

    Args:
        path: a `.pt`, `.pth` or `.safetensors` file.

    Returns:
        Arrays by key as in the file; floats are float32 or float64.

    Raises:
        ImportError: a `.pt` or `.pth` file, and PyTorch is not installed.
        OSError: the file cannot be opened.
        ValueError: the file is of another kind, damaged, or holds no state dict.
    """
    path = Path(path)
    return _read_safetensors(path) if _is_safetensors(path) else _read_torch(path)


def write(path: str | os.PathLike[str], tensors: Mapping[str, np.ndarray]) -> None:
    """Write a state dict, at once: an old file stays whole until the new one is.

    Args:
        path: a `.pt`, `.pth` or `.safetensors` file, in a folder that exists.
        tensors: arrays by key.

    Raises:
        ImportError: a `.pt` or `.pth` file, and PyTorch is not installed.
        RunError: the file cannot be written.
        ValueError: the name has another ending.
    """
    path = Path(path)
    encode = _encode_safetensors if _is_safetensors(path) else _encode_torch
    write_atomic(path, encode(tensors))


def _is_safetensors(path: Path) -> bool:
    if path.suffix not in SUFFIXES:
        raise ValueError(
            f"A file of PyTorch weights must end in {', '.join(SUFFIXES)}. "
            f"Received: {str(path)!r}."
        )
    return path.suffix == ".safetensors"


def _torch() -> Any:
    if find_spec("torch") is None:
        raise ImportError(
            ".pt and .pth files need PyTorch: install kmtard[torch], or convert the "
            "file to .safetensors, which does not."
        )
    import torch

    return torch


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    torch = _torch()
    with open(path, "rb") as file:
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
    tensors = _tensors(path, content, torch.Tensor)
    return {
        key: (each.float() if each.is_floating_point() else each).detach().numpy()
        for key, each in tensors.items()
    }


def _tensors(path: Path, content: Any, kind: type) -> dict[str, Any]:
    nests: list[str] = []
    while isinstance(content, Mapping):
        inner = [n for n in NESTS if isinstance(content.get(n), Mapping)]
        if not inner:
            break
        nests.append(inner[0])
        content = content[inner[0]]
    if isinstance(content, Mapping) and content:
        odd = [
            key
            for key, value in content.items()
            if not (isinstance(key, str) and isinstance(value, kind))
        ]
        if not odd:
            return dict(content)
        received = f"no named tensor at {', '.join(map(repr, odd[:10]))}"
    else:
        received = f"{type(content).__name__} {str(content)[:40]}"
    raise ValueError(
        f"{path} must hold a state dict, tensors by name, bare or under "
        f"{', '.join(NESTS)}. Received: {received}"
        + (f" under {'.'.join(nests)}." if nests else ".")
    )


def _encode_torch(tensors: Mapping[str, np.ndarray]) -> bytes:
    torch = _torch()
    content = {key: torch.from_numpy(np.array(each)) for key, each in tensors.items()}
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    try:
        if size > len(data) - 8:
            raise ValueError(f"{size} bytes of header expected, {len(data)} in all")
        header = json.loads(data[8 : 8 + size])
        header.pop("__metadata__", None)
        body = memoryview(data)[8 + size :]
        return {key: _decoded(body, **entry) for key, entry in header.items()}
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise ValueError(
            f"{path} is not a whole .safetensors file of known types "
            f"({', '.join(SAFETENSORS_TYPES)}): {error}."
        ) from error


def _decoded(
    body: memoryview, *, dtype: str, shape: list[int], data_offsets: list[int]
) -> np.ndarray:
    start, end = data_offsets
    kind = np.dtype(SAFETENSORS_TYPES[dtype])
    if end - start != math.prod(shape) * kind.itemsize or not 0 <= start <= end:
        raise ValueError(f"offsets {data_offsets} do not fit shape {shape} of {dtype}")
    if end > len(body):
        raise ValueError(f"{end} bytes of tensors expected, {len(body)} found")
    array = np.frombuffer(body[start:end], kind).reshape(shape)
    if dtype == "BF16":
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float32) if dtype == "F16" else array


def _encode_safetensors(tensors: Mapping[str, np.ndarray]) -> bytes:
    names = {np.dtype(kind): name for name, kind in SAFETENSORS_TYPES.items()}
    header, chunks, end = {}, [], 0
    for key, array in tensors.items():
        start, end = end, end + array.nbytes
        header[key] = {
            "dtype": names[array.dtype],
            "shape": array.shape,
            "data_offsets": (start, end),
        }
        chunks.append(array.tobytes())
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *chunks])
