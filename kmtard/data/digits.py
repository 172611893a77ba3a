"""The 1797 handwritten digits, gray 8x8 images, that scikit-learn comes with."""

from __future__ import annotations

import numpy as np

from kmtard.data.pipeline import DataSet, Split

TEST_IMAGES = 360
"""Number of test images, a fifth of the digits. The other 1437 are for training."""

DIVISION_SEED = 1797
"""Seed for the division into training and test images, the same in every run."""

_LARGEST_INTENSITY = 16


def digits(directory: str | None = None) -> DataSet:
    """Return the digits: ten classes of images `(8, 8, 1)`.

    Their intensities from 0 to 16 are scaled to 0 to 255, so that they fill [0, 1]
    after division by 255.

    Args:
        directory: Must be None, because no files are read.

    Raises:
        ValueError: A directory was given.

    Example:
        >>> data = digits()
        >>> len(data.train), len(data.test)
        (1437, 360)
    """
    if directory is not None:
        raise ValueError(
            "The data set 'digits' is part of scikit-learn and takes no directory. "
            f"Received: directory={directory!r}. Leave it out."
        )
    # Imported here because loading scikit-learn takes a second.
    from sklearn.datasets import load_digits

    source = load_digits()
    images = np.round(source.images * (255 / _LARGEST_INTENSITY)).astype(np.uint8)
    every = Split(images[..., np.newaxis], source.target.astype(np.int32))
    test, train = every.divide(TEST_IMAGES, DIVISION_SEED)
    return DataSet("digits", train, test, num_classes=10)
