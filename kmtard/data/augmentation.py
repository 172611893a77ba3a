"""Shift and mirror all images of a batch at once."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def augment(images: np.ndarray, shifts: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
    """Crop from zero-padded images, then mirror some of them.

    Args:
        images: uint8 `(batch, height, width, channels)`.
        shifts: int `(2, batch)`, by how many pixels each crop is moved down and to the
            right from its image; negative values move it up and to the left.
        mirrored: bool `(batch,)`, which crops to mirror left to right.

    Returns:
        New images of the same shape. Pixels from outside the image are 0.

    Example:
        >>> image = np.array([[1, 2, 3]], np.uint8).reshape(1, 1, 3, 1)
        >>> augment(image, np.array([[0], [1]]), np.array([True])).ravel()
        array([0, 3, 2], dtype=uint8)
    """
    cropped = _crop(images, shifts) if shifts.any() else images.copy()
    rows = np.flatnonzero(mirrored)
    if len(rows):
        turned = cropped[rows]
        # One channel at a time, which NumPy copies in whole rows, not pixel by pixel.
        for channel in range(turned.shape[-1]):
            turned[..., channel] = turned[:, :, ::-1, channel].copy()
        cropped[rows] = turned
    return cropped


def _crop(images: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    count, height, width, channels = images.shape
    pad = int(np.abs(shifts).max())
    padded = np.zeros((count, height + 2 * pad, width + 2 * pad, channels), np.uint8)
    padded[:, pad : pad + height, pad : pad + width] = images
    windows = sliding_window_view(padded, (height, width), axis=(1, 2))
    down, right = shifts + pad
    return np.moveaxis(windows, 3, -1)[np.arange(count), down, right]
