"""A data set of one's own, in folders of image files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

from kmtard.data.errors import DataError
from kmtard.data.pipeline import DataSet, Split

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png"})
"""The files that count as images, in lower or upper case."""


def image_folder(directory: str | None = None) -> DataSet:
    """Return the images in `train/CLASS/` and `test/CLASS/` of a folder.

    Classes are numbered in the alphabetical order of their folders. All images are of
    one size. They are grey if the first one is; else grey ones get three equal
    channels. Opacity is dropped.

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
    files = [_images(folder / name) for name in classes]
    labels = np.repeat(np.arange(len(classes)), [len(paths) for paths in files])
    return Split(_decode([path for paths in files for path in paths]), labels)


def _images(folder: Path) -> list[Path]:
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    if not paths:
        raise DataError(
            f"Expected images ({', '.join(sorted(SUFFIXES))}) in {folder}. "
            "There is none. Add some, or remove the class from train and test."
        )
    return paths


def _decode(paths: list[Path]) -> np.ndarray:
    decoded = (
        tf.data.Dataset.from_tensor_slices([str(path) for path in paths])
        .map(_pixels, num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(tf.data.AUTOTUNE)
        .as_numpy_iterator()
    )
    first = _next(decoded, paths[0])
    images = np.empty((len(paths), *first.shape), np.uint8)
    images[0] = first
    for index, path in enumerate(paths[1:], start=1):
        image = _next(decoded, path)
        if image.shape not in (first.shape, (*first.shape[:2], 1)):
            raise DataError(
                f"Expected {path} to be of shape {first.shape}, as {paths[0]} is. "
                f"Received: {image.shape}. Convert it."
            )
        images[index] = image
    return images


def _next(decoded: Iterator[np.ndarray], path: Path) -> np.ndarray:
    try:
        image = next(decoded)
    except tf.errors.OpError as error:
        raise DataError(
            f"Cannot decode {path}: {error.message}. Replace or remove it."
        ) from error
    # One or three channels, and perhaps opacity behind them.
    return image[..., : 1 if image.shape[-1] < 3 else 3]


def _pixels(path: tf.Tensor) -> tf.Tensor:
    return tf.io.decode_image(tf.io.read_file(path), expand_animations=False)
