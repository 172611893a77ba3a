"""A data set of one's own, in folders of image files."""

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
"""The files that count as images, in lower or upper case."""

IN_MEMORY = 2**30
"""Bytes up to which a split is decoded at once; a larger one is read while it is used.

This decides how fast a training is, not what it computes.
"""

# What Pillow raises for files that are damaged in one way or another.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
_GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "F"})


def image_folder(directory: str | None = None) -> DataSet:
    """Return the images in `train/CLASS/` and `test/CLASS/` of a folder.

    Classes are numbered in the alphabetical order of their folders. All images are of
    one size. They are grey if the first one is; else grey ones get three equal
    channels. Opacity is dropped, and so are the lower 8 of 16 bits.

    Splits of more than `IN_MEMORY` bytes stay on the disk: their files are looked at
    once, then decoded batch by batch, and one that is damaged breaks the training.

    Args:
        directory: The folder with `train` and `test`.

    Raises:
        DataError: A folder is missing or holds no image, the two have not the same
            classes, or an image is damaged, of another size, or not grey.
    """
    folder = Path(directory or "")
    if directory is None or not folder.is_dir():
        raise DataError(
            "The data set 'image_folder' expects data.directory to be a folder with "
            f"train/CLASS/ and test/CLASS/. Received: {directory!r}."
        )
    classes = _classes(folder / "train")
    if (found := _classes(folder / "test")) != classes:
        raise DataError(
            f"Expected the same class folders in {folder / 'train'} and "
            f"{folder / 'test'}. In only one: "
            f"{', '.join(sorted(set(classes) ^ set(found)))}."
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
        raise DataError(f"Expected a folder {folder} with one folder a class. Make it.")
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir())
    if not classes:
        raise DataError(f"Expected one folder a class in {folder}. There is none.")
    return classes


def _split(folder: Path, classes: list[str]) -> Split:
    files = [_files(folder / name) for name in classes]
    labels = np.repeat(np.arange(len(classes)), [len(paths) for paths in files])
    return Split(_images([path for paths in files for path in paths]), labels)


def _files(folder: Path) -> list[Path]:
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    if not paths:
        raise DataError(
            f"Expected images ({', '.join(sorted(SUFFIXES))}) in {folder}. "
            "There is none. Add some, or remove the class from train and test."
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
    """A `Reader` of image files, all of the first one's shape.

    Args:
        paths: At least one file.

    Raises:
        DataError: The first file is no image.
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
            DataError: It is damaged, of another size, or in color among grey ones.
        """
        image = _opened(self._paths[row], _pixels)
        self._check_shape(row, image.shape)
        return np.broadcast_to(image, self.shape[1:])

    def check(self) -> None:
        """Look at each file's head.

        Raises:
            DataError: See `image`; what is damaged behind a file's head is not found.
        """
        shapes = _side_by_side(lambda path: _opened(path, _shape), self._paths)
        for row, shape in enumerate(shapes):
            self._check_shape(row, shape)

    def _check_shape(self, row: int, shape: tuple[int, ...]) -> None:
        expected = self.shape[1:]
        if shape not in (expected, (*expected[:2], 1)):
            raise DataError(
                f"Expected {self._paths[row]} to be of shape {expected}, as "
                f"{self._paths[0]} is. Received: {shape}. Convert it."
            )


def _side_by_side(function: Callable[[Any], Any], items: Iterable) -> Iterator[Any]:
    with ThreadPoolExecutor(THREADS, "kmtard-files") as threads:
        yield from threads.map(function, items)


def _opened(path: Path, read: Callable[[Image.Image], Any]) -> Any:
    try:
        # A pipe would block its reader.
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
        # Pillow would clip 16 bits, not shift them.
        return (np.asarray(image)[..., np.newaxis] >> 8).astype(np.uint8)
    grey = image.mode in _GREY_MODES
    # Opacity goes without a trace, as it does in TensorFlow.
    return np.asarray(image.convert("L" if grey else "RGB")).reshape(_shape(image))
