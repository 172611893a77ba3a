"""The 1797 handwritten 8x8 grey digits that ship with scikit-learn."""

from __future__ import annotations

import numpy as np

from kmtard.data.pipeline import DataSet, Split

TEST_IMAGES = 360
"""A fifth of the digits; the other 1437 train."""

DIVISION_SEED = 1797
"""Seed of the one division into train and test that every run shares."""

_LARGEST_INTENSITY = 16


def digits(directory: str | None = None) -> DataSet:
    """Return the digits, ten classes of images `(8, 8, 1)`.

    Their intensities 0..16 become 0..255, so that they fill [0, 1] once scaled.

    Args:
        directory: Must be None, since there is nothing to read from a folder.

    Raises:
        ValueError: A directory was given.
    """
    if directory is not None:
        raise ValueError(
            "The data set 'digits' ships with scikit-learn and expects no directory. "
            f"Received: directory={directory!r}. Leave it out."
        )
    # Loading scikit-learn takes a second that other data sets need not wait.
    from sklearn.datasets import load_digits

    source = load_digits()
    images = np.round(source.images * (255 / _LARGEST_INTENSITY)).astype(np.uint8)
    every = Split(images[..., np.newaxis], source.target.astype(np.int32))
    test, train = every.divide(TEST_IMAGES, DIVISION_SEED)
    return DataSet("digits", train, test, num_classes=10)
