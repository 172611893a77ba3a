"""A user's own data set, in folders of image files."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from kmtard.data.batches import THREADS
from kmtard.data.errors import DataError
from kmtard.data.pipeline import DataSet, Split
from kmtard.data.sources import Images, LazyImages
from kmtard.registry.bounded import open_regular

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png"})
"""File endings that count as images, in lower or upper case."""

IN_MEMORY = 2**30
"""Largest split in bytes that is decoded into memory. A larger one stays on the disk.

This affects the speed of a training, not its result.
"""

# The exceptions that Pillow raises for damaged files.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
_GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "F"})


def image_folder(directory: str | None = None) -> DataSet:
    """Return the images in `train/CLASS/` and `test/CLASS/` of a folder.

    Classes are numbered in the alphabetical order of their folders. All images must
    have the same size. If the first image is gray, all must be gray. If it is in color,
    gray images get three equal channels. Transparency is ignored, and of 16-bit images
    only the upper 8 bits are used.

    Splits of more than `IN_MEMORY` bytes stay on the disk. The header of each file is
    checked first, and the images are decoded batch by batch during training. A file
    that is damaged after its header then stops the training.

    Args:
        directory: The folder with `train` and `test`.

    Raises:
        DataError: A folder is missing or has no images, `train` and `test` have
            different classes, or an image is damaged, has another size, or is in color
            although the first one is gray.
    """
    folder = Path(directory or "")
    if directory is None or not folder.is_dir():
        raise DataError(
            "The data set 'image_folder' expects data.directory to be a folder with "
            f"images in train/CLASS/ and test/CLASS/. Received: {directory!r}."
        )
    classes = _classes(folder / "train")
    if (found := _classes(folder / "test")) != classes:
        raise DataError(
            f"Expected the same class folders in {folder / 'train'} and "
            f"{folder / 'test'}. In only one of them: "
            f"{', '.join(sorted(set(classes) ^ set(found)))}. Add or remove folders."
        )
    train, test = (_split(folder / part, classes) for part in ("train", "test"))
    if train.images.shape[1:] != test.images.shape[1:]:
        raise DataError(
            f"Expected images of one shape in {folder}. Received: "
            f"{train.images.shape[1:]} in train, {test.images.shape[1:]} in test."
        )
    return DataSet(folder.resolve().name, train, test, len(classes))


def _classes(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise DataError(
            f"Expected a folder {folder} with one folder per class. Create it."
        )
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir())
    if not classes:
        raise DataError(
            f"Expected one folder per class in {folder}, which has no folders. Add "
            "them, such as cat/ and dog/, with the images in them."
        )
    return classes


def _split(folder: Path, classes: list[str]) -> Split:
    files = [_files(folder / name) for name in classes]
    labels = np.repeat(np.arange(len(classes)), [len(paths) for paths in files])
    return Split(_images([path for paths in files for path in paths]), labels)


def _files(folder: Path) -> list[Path]:
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    if not paths:
        raise DataError(
            f"Expected images ({', '.join(sorted(SUFFIXES))}) in {folder}, which has "
            "none. Add some, or remove the class from train and test."
        )
    return paths


def _images(paths: list[Path]) -> Images:
    folder = ImageFiles(paths)
    if math.prod(folder.shape) > IN_MEMORY:
        folder.check()
        return LazyImages(folder)
    images = np.empty(folder.shape, np.uint8)
    for row, image in enumerate(_side_by_side(folder.image, range(len(paths)))):
        images[row] = image
    return images


class ImageFiles:
    """A `Reader` of image files that all have the shape of the first one.

    Args:
        paths: At least one file.

    Raises:
        DataError: The first file is not an image.
    """

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths
        self.shape = (len(paths), *_opened(paths[0], _shape))

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
        image = _opened(self._paths[row], _pixels)
        self._check_shape(row, image.shape)
        return np.broadcast_to(image, self.shape[1:])

    def check(self) -> None:
        """Check the header of each file.

        Damage after the header is not found.

        Raises:
            DataError: See `image`.
        """
        shapes = _side_by_side(lambda path: _opened(path, _shape), self._paths)
        for row, shape in enumerate(shapes):
            self._check_shape(row, shape)

    def _check_shape(self, row: int, shape: tuple[int, ...]) -> None:
        expected = self.shape[1:]
        if shape not in (expected, (*expected[:2], 1)):
            raise DataError(
                f"Expected {self._paths[row]} to have the shape {expected}, as "
                f"{self._paths[0]} has. Received: {shape}. Convert it, or remove it."
            )


def _side_by_side(function: Callable[[Any], Any], items: Iterable) -> Iterator[Any]:
    with ThreadPoolExecutor(THREADS, "kmtard-files") as threads:
        yield from threads.map(function, items)


def _opened(path: Path, read: Callable[[Image.Image], Any]) -> Any:
    try:
        # Opening a pipe would block.
        with open_regular(path) as file, Image.open(file) as image:
            return read(image)
    except _DAMAGE as error:
        raise DataError(
            f"Cannot decode {path}: {error}. Replace or remove it."
        ) from error


def _shape(image: Image.Image) -> tuple[int, int, int]:
    return image.height, image.width, 1 if image.mode in _GREY_MODES else 3


def _pixels(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I"):
        # Pillow would clip 16-bit values to 255 instead of scaling them.
        return (np.asarray(image)[..., np.newaxis] >> 8).astype(np.uint8)
    grey = image.mode in _GREY_MODES
    # Transparency is ignored, as in TensorFlow.
    return np.asarray(image.convert("L" if grey else "RGB")).reshape(_shape(image))
