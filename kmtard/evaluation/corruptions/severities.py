"""The constants of each corruption at its five severities.

`SMALL` is for images up to 32 x 32, with the numbers of `make_cifar_c.py`, which made
CIFAR-10-C. `LARGE` is for larger images, with those of `make_imagenet_c.py`, which made
ImageNet-C for 224 x 224. Both files are in the repository of Hendrycks and Dietterich
(github.com/hendrycks/robustness). Lengths are in pixels, except for
`elastic_transform`, whose lengths are shares of the side of the image.
"""

from __future__ import annotations

from typing import Any

SMALL_SIDE = 32
"""Longest side of an image, in pixels, for which the constants are `SMALL`."""

Severities = dict[str, tuple[tuple[Any, ...], ...]]

# ImageNet-C computes its lengths from a side of 244 pixels for images of 224.
WIDE = 244 / 224

SMALL: Severities = {
    # Standard deviation.
    "gaussian_noise": ((0.04,), (0.06,), (0.08,), (0.09,), (0.10,)),
    # Photons per unit of intensity.
    "shot_noise": ((500,), (250,), (100,), (75,), (50,)),
    # Share of the changed values.
    "impulse_noise": ((0.01,), (0.02,), (0.03,), (0.05,), (0.07,)),
    # Radius of the disk, standard deviation of its smooth border.
    "defocus_blur": ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
    # Standard deviation, largest shift, passes.
    "glass_blur": ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
    # Radius of the kernel, standard deviation.
    "motion_blur": ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
    # End and step of the zoom factors, which begin with 1.
    "zoom_blur": ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
    # Mean, standard deviation, zoom and threshold of the flakes; radius and standard
    # deviation of their motion; weight of the image.
    "snow": (
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    ),
    # Weight of the image, weight of the frost.
    "frost": ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
    # Strength, decay of the roughness.
    "fog": ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
    # Added value.
    "brightness": ((0.05,), (0.1,), (0.15,), (0.2,), (0.3,)),
    # Factor.
    "contrast": ((0.75,), (0.5,), (0.4,), (0.3,), (0.15,)),
    # Length and smoothness of the displacement, largest shift of a corner.
    "elastic_transform": (
        (0, 0, 0.08),
        (0.05, 0.2, 0.07),
        (0.08, 0.06, 0.06),
        (0.1, 0.04, 0.05),
        (0.1, 0.03, 0.03),
    ),
    # Side of the reduced image, as a share.
    "pixelate": ((0.95,), (0.9,), (0.85,), (0.75,), (0.65,)),
    # Quality.
    "jpeg_compression": ((80,), (65,), (58,), (50,), (40,)),
}

LARGE: Severities = {
    "gaussian_noise": ((0.08,), (0.12,), (0.18,), (0.26,), (0.38,)),
    "shot_noise": ((60,), (25,), (12,), (5,), (3,)),
    "impulse_noise": ((0.03,), (0.06,), (0.09,), (0.17,), (0.27,)),
    "defocus_blur": ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    "glass_blur": ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    "motion_blur": ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    "zoom_blur": ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    "snow": (
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    ),
    "frost": ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
    "fog": ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    "brightness": ((0.1,), (0.2,), (0.3,), (0.4,), (0.5,)),
    "contrast": ((0.4,), (0.3,), (0.2,), (0.1,), (0.05,)),
    "elastic_transform": (
        (WIDE * 2, WIDE * 0.7, WIDE * 0.1),
        (WIDE * 2, WIDE * 0.08, WIDE * 0.2),
        (WIDE * 0.05, WIDE * 0.01, WIDE * 0.02),
        (WIDE * 0.07, WIDE * 0.01, WIDE * 0.02),
        (WIDE * 0.12, WIDE * 0.01, WIDE * 0.02),
    ),
    "pixelate": ((0.6,), (0.5,), (0.4,), (0.3,), (0.25,)),
    "jpeg_compression": ((25,), (18,), (15,), (10,), (7,)),
}


def severities_of(height: int, width: int) -> Severities:
    """Return the constants for images of this size.

    Args:
        height: in pixels.
        width: in pixels.

    Example:
        >>> severities_of(32, 32)["contrast"][4]
        (0.15,)
    """
    return SMALL if max(height, width) <= SMALL_SIDE else LARGE
