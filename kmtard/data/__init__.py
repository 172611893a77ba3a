"""Data sets, and the one stream of training batches that feeds every backend.

A data set is a function that takes a directory and returns a `DataSet` of uint8 images.
From the rest of kmtard, this package imports only `kmtard.runs` and `kmtard.registry`,
for safe access to files. TensorFlow is loaded only when TensorFlow Datasets prepares a
data set.

Example:
    >>> import kmtard
    >>> data = kmtard.data.digits()
    >>> data.train.images.shape, data.num_classes
    ((1437, 8, 8, 1), 10)
"""

from kmtard.data.batches import Batches
from kmtard.data.catalog import cifar10, cifar100, svhn_cropped
from kmtard.data.digits import digits
from kmtard.data.errors import DataError
from kmtard.data.fashion_mnist import fashion_mnist
from kmtard.data.image_folder import image_folder
from kmtard.data.npz import npz
from kmtard.data.pipeline import DataSet, Split, TrainingStream, evaluation_dataset
from kmtard.data.sources import LazyImages
from kmtard.data.tiny_imagenet import tiny_imagenet

__all__ = [
    "Batches",
    "DataError",
    "DataSet",
    "LazyImages",
    "Split",
    "TrainingStream",
    "cifar10",
    "cifar100",
    "digits",
    "evaluation_dataset",
    "fashion_mnist",
    "image_folder",
    "npz",
    "svhn_cropped",
    "tiny_imagenet",
]
