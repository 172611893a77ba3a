"""The parts of corruptions: kernels, zooms, random height maps and motion."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from scipy import ndimage

Generator = np.random.Generator


@lru_cache
def disk(radius: float, smoothness: float) -> np.ndarray:
    """Return the kernel of a lens out of focus: a disk with a smooth border.

    Args:
        radius: radius of the disk, in pixels.
        smoothness: standard deviation of the Gaussian that smooths it.

    Returns:
        float32 (side, side) with the sum 1, before the border is smoothed.
    """
    reach, taps = (8, 1) if radius <= 8 else (math.ceil(radius), 2)
    line = np.arange(-reach, reach + 1)
    inside = line**2 + line[:, None] ** 2 <= radius**2
    kernel = inside.astype(np.float32) / np.float32(inside.sum())
    weights = np.exp(-(np.arange(-taps, taps + 1) ** 2) / (2 * smoothness**2))
    for axis in (0, 1):
        kernel = ndimage.correlate1d(
            kernel, weights / weights.sum(), axis, mode="mirror"
        )
    return kernel


@lru_cache
def zoom_matrix(side: int, factor: float) -> np.ndarray:
    """Return the linear map of one axis that enlarges the middle of an image.

    `scipy.ndimage.zoom` of order 1 is such a map for each axis.

    Args:
        side: number of pixels along the axis.
        factor: zoom, >= 1.

    Returns:
        float64 (side, side): new pixels from old ones.
    """
    kept = math.ceil(side / factor)
    first = (side - kept) // 2
    middle = np.eye(side)[first : first + kept]
    zoomed = ndimage.zoom(middle, (factor, 1), order=1)
    first = (len(zoomed) - side) // 2
    return np.asarray(zoomed[first : first + side])


def zoomed(image: np.ndarray, factor: float) -> np.ndarray:
    """Return the enlarged middle of an image (height, width, ...)."""
    rows, columns = (zoom_matrix(side, factor) for side in image.shape[:2])
    taller = np.tensordot(rows, image, (1, 0))
    return np.swapaxes(np.tensordot(columns, taller, (1, 1)), 0, 1)


def height_map(
    height: int, width: int, decay: float, generator: Generator
) -> np.ndarray:
    """Return random heights in [0, 1] by the diamond-square algorithm.

    (Fournier, Fussell and Carpenter 1982.) The map is periodic, and its side is the
    next power of two.

    Args:
        height: in pixels.
        width: in pixels.
        decay: the random part of a step has 1 / decay**2 times the size of that of the
            step before.
        generator: source of the random numbers.

    Returns:
        float64 (height, width), a part of a map with the lowest height 0 and the
        highest 1.
    """
    side = step = 1 << (max(height, width) - 1).bit_length()
    heights = np.zeros((side, side))
    roughness = 1.0

    def mean(first: np.ndarray, second: np.ndarray, axis: int) -> np.ndarray:
        """Return the mean of four neighbors, and a random part."""
        total = first + np.roll(first, 1, axis)
        total += second + np.roll(second, -1, 1 - axis)
        return total / 4 + roughness * generator.uniform(-1, 1, total.shape)

    while step > 1:
        half = step // 2
        corners = heights[::step, ::step]
        pairs = corners + np.roll(corners, -1, 0)
        total = pairs + np.roll(pairs, -1, 1)
        noise = roughness * generator.uniform(-1, 1, total.shape)
        middles = heights[half::step, half::step] = total / 4 + noise
        heights[::step, half::step] = mean(middles, corners, 0)
        heights[half::step, ::step] = mean(middles, corners, 1)
        step, roughness = half, roughness / decay**2
    heights -= heights.min()
    return (heights / heights.max())[:height, :width]


def moved(image: np.ndarray, radius: int, deviation: float, angle: float) -> np.ndarray:
    """Return the mean of an image along a path, as if it moved during the exposure.

    The weights fall like one half of a Gaussian, and pixels outside of the image are
    those of its border: the formula of ImageMagick's motion blur.

    Args:
        image: (height, width, channels).
        radius: the path has 2 radius + 1 pixels.
        deviation: standard deviation of the Gaussian, in pixels.
        angle: direction of the path in degrees, 0 to the right and 90 down.
    """
    places = np.arange(2 * radius + 1)
    weights = np.exp(-(places**2) / (2 * deviation**2))
    weights /= weights.sum()
    down, right = (
        np.ceil(places * part - 0.5).astype(int)
        for part in (math.sin(math.radians(angle)), math.cos(math.radians(angle)))
    )
    height, width = image.shape[:2]
    rows = np.clip(np.arange(height) + down[:, None], 0, height - 1)
    columns = np.clip(np.arange(width) + right[:, None], 0, width - 1)
    total = np.zeros(image.shape)
    for weight, row, column in zip(weights, rows, columns, strict=True):
        total += weight * image[row[:, None], column]
    return total


def frost_texture(height: int, width: int, generator: Generator) -> np.ndarray:
    """Return a generated texture of frost: bright crystals on dark glass.

    ImageNet-C blends photographs of frost. This texture replaces them: the ridges of
    two random height maps, slightly blue.

    Args:
        height: in pixels.
        width: in pixels.
        generator: source of the random numbers.

    Returns:
        float64 (height, width, 3) in [0, 1]: red, green, blue.
    """
    ridges = [
        (1 - np.abs(2 * height_map(height, width, decay, generator) - 1)) ** 2
        for decay in (1.3, 1.8)
    ]
    return np.mean(ridges, axis=0)[..., None] * np.array([0.85, 0.93, 1.0])
