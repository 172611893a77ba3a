"""Write a few clean and adversarial images as PNG, for screens and reports."""

from __future__ import annotations

import io
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from kmtard.runs.files import RunError, make_folder, refuse_links, write_atomic

MOST = 64
"""Largest number of pictures per column."""

CHANNELS = (1, 2, 3, 4)
"""Channels that PNG supports: gray or color, each with or without transparency."""


def picture_indices(shape: Sequence[int], *, channels_last: bool) -> np.ndarray:
    """Return the indices of the images to keep, evenly spaced.

    They depend only on the number of images, so that the pictures of several networks
    show the same images.

    Args:
        shape: shape of all images, (N, height, width, channels) or channels first.
        channels_last: whether the channels are last.

    Returns:
        int (up to 64,), ascending; empty if the images cannot be saved as PNG.
    """
    if len(shape) != 4 or shape[-1 if channels_last else 1] not in CHANNELS:
        return np.zeros(0, int)
    count = shape[0]
    return np.unique(np.linspace(0, count - 1, min(MOST, count)).round().astype(int))


def to_pixels(images: np.ndarray) -> np.ndarray:
    """Return images in [0, 1] as uint8 in 0 .. 255, rounded."""
    return np.rint(255 * np.clip(images, 0, 1)).astype(np.uint8)


def write_pictures(
    folder: Path, pictures: Mapping[int, np.ndarray], *, channels_last: bool
) -> None:
    """Replace the contents of a folder with one PNG per image, such as `000123.png`.

    Args:
        folder: folder of one column.
        pictures: index of the image -> uint8 (height, width, channels), or channels
            first.
        channels_last: whether the channels are last.

    Raises:
        RunError: a file cannot be written.
    """
    refuse_links(folder.parent, folder)
    try:
        if folder.is_dir():
            shutil.rmtree(folder)
    except OSError as error:
        raise RunError(
            f"Cannot replace the folder {folder}: {error.strerror}."
        ) from error
    if pictures:
        make_folder(folder, parents=1)
    for index, picture in pictures.items():
        pixels = picture if channels_last else np.moveaxis(picture, 0, -1)
        content = io.BytesIO()
        grey = pixels.shape[-1] == 1
        Image.fromarray(pixels[..., 0] if grey else pixels).save(content, "PNG")
        write_atomic(folder / f"{index:06d}.png", content.getvalue())
