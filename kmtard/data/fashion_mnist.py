"""Fashion-MNIST, from TensorFlow Datasets or from its four published files."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from kmtard.data.errors import DataError
from kmtard.data.pipeline import DataSet, Split
from kmtard.data.prepared import load

FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
"""File names of each split's images and labels. They may end in `.gz`."""

CLASS_NAMES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)

_UNSIGNED_BYTE = 8


def fashion_mnist(directory: str | None = None) -> DataSet:
    """Return Fashion-MNIST: 60,000 and 10,000 gray images `(28, 28, 1)` of 10 classes.

    Xiao et al., Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
    Algorithms, 2017.

    Args:
        directory: Folder with the four files in `FILES`, as Debian's package
            `dataset-fashion-mnist` installs them. They are read directly. If the folder
            has none of them, the argument has the meaning it has in `prepared.load`.

    Raises:
        DataError: Some of the four files are missing or damaged. Without these files,
            as in `prepared.load`.
    """
    folder = Path(directory or "")
    names = [name for pair in FILES.values() for name in pair]
    if directory is None or not any(_found(folder, name) for name in names):
        return load("fashion_mnist", (28, 28, 1), 10, directory)
    missing = [name for name in names if not _found(folder, name)]
    if missing:
        raise DataError(
            f"Expected the four files of Fashion-MNIST in {folder}, each with or "
            f"without the ending .gz. Missing: {', '.join(missing)}. Copy them there."
        )
    train, test = (_split(folder, *pair) for pair in FILES.values())
    return DataSet("fashion_mnist", train, test, num_classes=10)


def _found(folder: Path, name: str) -> Path | None:
    return next((p for p in (folder / name, folder / f"{name}.gz") if p.exists()), None)


def _split(folder: Path, *names: str) -> Split:
    paths = [path for name in names if (path := _found(folder, name))]
    images, labels = (read_idx(path) for path in paths)
    try:
        return Split(images[..., np.newaxis], labels.astype(np.int32), CLASS_NAMES)
    except ValueError as error:
        raise DataError(
            f"{paths[0]} and {paths[1]} do not belong together: {error}"
        ) from error


def read_idx(path: Path) -> np.ndarray:
    """Return the array of an idx file, uint8 of any shape.

    An idx file begins with four bytes: two zeros, the code of the dtype and the number
    of dimensions. Each dimension follows as a big-endian uint32, then the values.

    Raises:
        DataError: The file cannot be read, has another format, or is incomplete.
    """
    try:
        opened = gzip.open(path) if path.suffix == ".gz" else open(path, "rb")
        with opened as file:
            content = file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"Cannot read {path}: {error}. Expected a complete idx file. Copy it again."
        ) from error
    start = 4 + 4 * content[3] if len(content) > 3 else 4
    if len(content) < start or content[:3] != bytes([0, 0, _UNSIGNED_BYTE]):
        raise DataError(
            f"Expected {path} to be an idx file of bytes, which begins with 00 00 08, "
            "the number of dimensions, and 4 bytes for each dimension. Received: "
            f"{content[:16].hex(' ')}. Copy it again."
        )
    shape = tuple(np.frombuffer(content[4:start], ">u4").tolist())
    if len(content) != start + math.prod(shape):
        raise DataError(
            f"Expected {path} to have {start + math.prod(shape)} bytes, because its "
            f"shape is {shape}. Received: {len(content)} bytes. Copy it again."
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
