"""The names of the common corruptions, in the order and the groups of ImageNet-C."""

from __future__ import annotations

GROUPS: dict[str, tuple[str, ...]] = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "weather": ("snow", "frost", "fog", "brightness"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
}
"""Group -> its corruptions (Hendrycks and Dietterich 2019, arXiv:1903.12261)."""

CORRUPTIONS: tuple[str, ...] = tuple(name for each in GROUPS.values() for name in each)

SEVERITIES = (1, 2, 3, 4, 5)
"""1 is the weakest."""

DIFFERENCES: dict[str, str] = {
    "motion_blur": "the formula of ImageMagick's motion blur replaces ImageMagick",
    "snow": "the formula of ImageMagick's motion blur replaces ImageMagick",
    "frost": "a generated texture replaces the photographs of frost",
}
"""Corruption -> how our images differ from those of the published data sets."""
