"""A user's own data set, in folders of image files."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from kmtard.data.batches import THREADS
from kmtard.data.errors import DataError
from kmtard.data.pipeline import DataSet, Split
from kmtard.data.sources import Images, LazyImages
from kmtard.registry.bounded import open_regular

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".webp"})
"""File endings that count as images, in lower or upper case."""

IN_MEMORY = 2**30
"""Largest split in bytes that is decoded into memory. A larger one stays on the disk.

This affects the speed of a training, not its result.
"""

NAMED = 10
"""Largest number of files that a message names; the others are counted."""

# The exceptions that Pillow raises for damaged files.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
_GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "F"})

Shape = tuple[int, ...]


def image_folder(directory: str | None = None) -> DataSet:
    """Return the images in `train/CLASS/` and `test/CLASS/` of a folder.

    Classes are numbered in the alphabetical order of their folders. All images must
    have the same size; the most frequent one in `train` is expected. If the first image
    is gray, all must be gray. If it is in color, gray images get three equal channels.
    Transparency is ignored, and of 16-bit images only the upper 8 bits are used.

    Files and folders with names that begin with a dot are ignored. A warning counts and
    names other files that are not read: those without a suffix from `SUFFIXES`, those
    next to the class folders, and folders inside the class folders.

    Splits of more than `IN_MEMORY` bytes stay on the disk. The header of each file is
    checked first, and the images are decoded batch by batch during training. A file
    that is damaged after its header then stops the training.

    Args:
        directory: The folder with `train` and `test`.

    Raises:
        DataError: A folder is missing or has no images, `train` and `test` have
            different classes, or images are damaged, have another size, or are in color
            among gray ones. It names up to `NAMED` of these files and counts all.
    """
    folder = _folder(directory)
    classes = _classes(folder / "train")
    _check_same(folder, classes, _classes(folder / "test"))
    parts = [_files(folder / part, classes) for part in ("train", "test")]
    shape = _check([path for paths, _ in parts for path in paths], len(parts[0][0]))
    train, test = (
        Split(images, labels, tuple(classes))
        for images, (_, labels) in zip(
            _images([paths for paths, _ in parts], shape), parts, strict=True
        )
    )
    return DataSet(folder.resolve().name, train, test, len(classes))


def image_folder_test(
    directory: str | None = None, shape: tuple[int, int, int] | None = None
) -> Split:
    """Return only the images in `test/CLASS/`; see `image_folder`.

    No file in `train` is read. If `train` has folders, they must be the same classes.

    Args:
        directory: The folder with `test`.
        shape: `(height, width, channels)` that the images must have; None for the most
            frequent one.

    Raises:
        DataError: See `image_folder`.
    """
    folder = _folder(directory)
    classes = _classes(folder / "test")
    if (folder / "train").is_dir():
        _check_same(folder, _classes(folder / "train"), classes)
    paths, labels = _files(folder / "test", classes)
    [images] = _images([paths], _check(paths, len(paths), shape))
    return Split(images, labels, tuple(classes))


def _folder(directory: str | None) -> Path:
    folder = Path(directory or "")
    if directory is None or not folder.is_dir():
        raise DataError(
            "The data set 'image_folder' expects data.directory to be a folder with "
            f"images in train/CLASS/ and test/CLASS/. Received: {directory!r}."
        )
    return folder


def _listed(folder: Path) -> list[Path]:
    """Return the content of a folder, sorted, without hidden files and folders."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _classes(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise DataError(
            f"Expected a folder {folder} with one folder per class. Create it."
        )
    classes = [path.name for path in _listed(folder) if path.is_dir()]
    if not classes:
        raise DataError(
            f"Expected one folder per class in {folder}, which has no folders. Add "
            "them, such as cat/ and dog/, with the images in them."
        )
    return classes


def _check_same(folder: Path, train: list[str], test: list[str]) -> None:
    if train != test:
        raise DataError(
            f"Expected the same class folders in {folder / 'train'} and "
            f"{folder / 'test'}. In only one of them: "
            f"{', '.join(sorted(set(train) ^ set(test)))}. Add or remove folders."
        )


def _files(folder: Path, classes: list[str]) -> tuple[list[Path], np.ndarray]:
    """Return the images of a split and their labels; warn about unread files."""
    left_out = [path for path in _listed(folder) if not path.is_dir()]
    files: list[list[Path]] = []
    for name in classes:
        inside = _listed(folder / name)
        files.append([p for p in inside if _is_image(p)])
        left_out += [p for p in inside if not _is_image(p)]
    kinds = ", ".join(sorted(SUFFIXES))
    if left_out:
        folders = sum(path.is_dir() for path in left_out)
        warnings.warn(
            f"Not read in {folder}: {len(left_out) - folders} files and {folders} "
            f"folders. Images are read from CLASS/NAME in {folder} if they end in "
            f"{kinds}. Convert or move those that are images:{_lines(left_out)}",
            stacklevel=3,
        )
    empty = [folder / name for name, p in zip(classes, files, strict=True) if not p]
    if empty:
        raise DataError(
            f"Expected images ({kinds}) in each class folder, but {len(empty)} of "
            f"{len(classes)} are empty. Add images, or remove the class from train and "
            f"test:{_lines(empty)}"
        )
    labels = np.repeat(np.arange(len(classes)), [len(paths) for paths in files])
    return [path for paths in files for path in paths], labels


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.is_dir()


def _check(paths: list[Path], reference: int, shape: Shape | None = None) -> Shape:
    """Check the header of each file, and return the shape that all images must have.

    Args:
        paths: The files.
        reference: Number of first files. Their most frequent size is expected.
        shape: The expected shape; None for the most frequent one.

    Raises:
        DataError: Files are damaged, of another size, or in color among gray ones.
    """
    heads = _readings(paths, _shape)
    known = [head for head in heads[:reference] if isinstance(head, tuple)]
    if shape is None and known:
        size, _ = Counter(known).most_common(1)[0]
        shape = size if known[0][2] == 1 else (*size[:2], 3)
        whose = "as most of them are"
    else:
        whose = "as the model expects"
    found = _misfits(paths, heads, shape)
    if not found and shape:
        return shape
    if len(paths) * math.prod(shape or ()) <= IN_MEMORY:
        # The error also names files that are damaged after their headers.
        heads = _readings(paths, lambda image: _pixels(image).shape)
        found = _misfits(paths, heads, shape)
    one = f"of {_size(shape)}, {whose}" if shape else "that can be read"
    raise DataError(
        f"Expected images {one}. {len(found)} of {len(paths)} files are not. "
        f"Resize, convert, replace or remove them:{_lines(found)}"
    )


def _misfits(
    paths: list[Path], shapes: list[Shape | str], expected: Shape | None
) -> list[str]:
    """Return a line about each file that is damaged or has another shape."""
    return [
        f"{path}: {shape if isinstance(shape, str) else _size(shape)}"
        for path, shape in zip(paths, shapes, strict=True)
        if isinstance(shape, str) or (expected and not _fits(shape, expected))
    ]


def _fits(shape: Shape, expected: Shape) -> bool:
    return shape in (expected, (*expected[:2], 1))


def _size(shape: Shape) -> str:
    height, width, channels = shape
    color = {1: "grey", 3: "color"}.get(channels, f"{channels} channels")
    return f"{height} x {width} pixels, {color}"


def _lines(items: Sequence[object]) -> str:
    more = [f"and {len(items) - NAMED} more"] if len(items) > NAMED else []
    return "".join(f"\n  {item}" for item in [*islice(items, NAMED), *more])


def _images(splits: list[list[Path]], shape: Shape) -> list[Images]:
    """Return the images of each split, after their headers have been checked.

    Raises:
        DataError: Files of a split that fits into memory cannot be decoded.
    """
    found: list[Images] = []
    damaged: list[str] = []
    for paths in splits:
        reader = ImageFiles(paths, shape)
        if math.prod(reader.shape) > IN_MEMORY:
            found.append(LazyImages(reader))
            continue
        images = np.empty(reader.shape, np.uint8)

        def decode(row: int, reader: ImageFiles = reader) -> np.ndarray | str:
            try:
                return reader.image(row)
            except DataError as error:
                return str(error)

        for row, image in enumerate(_side_by_side(decode, range(len(paths)))):
            if isinstance(image, str):
                damaged.append(image)
            else:
                images[row] = image
        found.append(images)
    if damaged:
        raise DataError(
            f"Expected images that can be decoded. {len(damaged)} of "
            f"{sum(map(len, splits))} files cannot. Replace or remove them:"
            f"{_lines(damaged)}"
        )
    return found


class ImageFiles:
    """A `Reader` of image files that all have one shape.

    Args:
        paths: At least one file.
        shape: `(height, width, channels)` of every image.
    """

    def __init__(self, paths: list[Path], shape: Shape) -> None:
        self._paths = paths
        self.shape = (len(paths), *shape)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Return the images of some files; see `Reader`.

        Raises:
            DataError: See `image`.
        """
        return np.stack([self.image(row) for row in rows.tolist()])

    def image(self, row: int) -> np.ndarray:
        """Return one image, uint8 `(height, width, channels)`.

        Raises:
            DataError: It is damaged, has another size than the first image, or is in
                color although the first image is gray.
        """
        path, expected = self._paths[row], self.shape[1:]
        image = _opened(path, _pixels)
        if not _fits(image.shape, expected):
            raise DataError(
                f"{path}: {_size(image.shape)}, not {_size(expected)}. Was it changed?"
            )
        return np.broadcast_to(image, expected)


def _readings(paths: list[Path], read: Callable[[Image.Image], Any]) -> list[Any]:
    """Return the result of `read` per file, or a text that says why it failed."""

    def reading(path: Path) -> Any:
        try:
            return _opened(path, read)
        except DataError as error:
            return str(error).partition(": ")[2]

    return list(_side_by_side(reading, paths))


def _side_by_side(function: Callable[[Any], Any], items: Iterable) -> Iterator[Any]:
    with ThreadPoolExecutor(THREADS, "kmtard-files") as threads:
        yield from threads.map(function, items)


def _opened(path: Path, read: Callable[[Image.Image], Any]) -> Any:
    try:
        # Opening a pipe would block.
        with open_regular(path) as file, Image.open(file) as image:
            return read(image)
    except _DAMAGE as error:
        # Pillow repeats the name of a file that it cannot identify.
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "not an image, or damaged" if unknown else error
        raise DataError(f"{path}: {reason}") from error


def _shape(image: Image.Image) -> Shape:
    return image.height, image.width, 1 if image.mode in _GREY_MODES else 3


def _pixels(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I"):
        # Pillow would clip 16-bit values to 255 instead of scaling them.
        return (np.asarray(image)[..., np.newaxis] >> 8).astype(np.uint8)
    grey = image.mode in _GREY_MODES
    # Transparency is ignored, as in TensorFlow.
    return np.asarray(image.convert("L" if grey else "RGB")).reshape(_shape(image))
