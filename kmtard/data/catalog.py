"""Data sets that TensorFlow Datasets provides and that need no further code."""

from __future__ import annotations

from kmtard.data.pipeline import DataSet
from kmtard.data.prepared import load


def cifar10(directory: str | None = None) -> DataSet:
    """Return CIFAR-10: 50,000 and 10,000 images `(32, 32, 3)` of 10 classes.

    Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.

    Args:
        directory: See `prepared.load`; the archive is `cifar-10-binary.tar.gz`.

    Raises:
        DataError: See `prepared.load`.
    """
    return load("cifar10", (32, 32, 3), 10, directory)


def cifar100(directory: str | None = None) -> DataSet:
    """Return CIFAR-100: 50,000 and 10,000 images `(32, 32, 3)` of 100 fine classes.

    Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.

    Args:
        directory: See `prepared.load`; the archive is `cifar-100-binary.tar.gz`.

    Raises:
        DataError: See `prepared.load`.
    """
    return load("cifar100", (32, 32, 3), 100, directory)


def svhn_cropped(directory: str | None = None) -> DataSet:
    """Return SVHN, cropped: 73,257 and 26,032 images `(32, 32, 3)` of 10 digits.

    The 531,131 images of the split `extra` are prepared but not used. Netzer et al.,
    Reading Digits in Natural Images with Unsupervised Feature Learning, 2011.

    Args:
        directory: See `prepared.load`; the files are `train_32x32.mat`,
            `test_32x32.mat` and `extra_32x32.mat`.

    Raises:
        DataError: See `prepared.load`.
    """
    return load("svhn_cropped", (32, 32, 3), 10, directory)
