"""Tiny-ImageNet, prepared by TensorFlow Datasets with our own builder."""

from __future__ import annotations

from kmtard.data.pipeline import DataSet
from kmtard.data.prepared import load


def tiny_imagenet(directory: str | None = None) -> DataSet:
    """Return Tiny-ImageNet: 100,000 and 10,000 images `(64, 64, 3)` of 200 classes.

    The validation split is used as the test split, as in the literature.

    Args:
        directory: See `prepared.load`; the archive is `tiny-imagenet-200.zip`.

    Raises:
        DataError: See `prepared.load`.
    """
    return load(
        "tiny_imagenet",
        (64, 64, 3),
        200,
        directory,
        test="validation",
        module="kmtard.data.tiny_imagenet_builder",
    )
