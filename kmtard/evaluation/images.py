"""The labeled images of an evaluation, read batch by batch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from kmtard import backend, registry
from kmtard.attacks.inputs import check_images, check_labels, class_labels
from kmtard.data.pipeline import Split
from kmtard.data.sources import Images
from kmtard.evaluation.fingerprints import fingerprint

PIECE = 1024  # number of images that a fingerprint reads at a time


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images and labels in a fixed order; only one batch at a time becomes float32.

    Args:
        name: a name for the user.
        source: (N, height, width, channels) or channels first, floats or uint8; may be
            an object that reads images from disk when it is indexed.
        labels: int (N,).
        scale: divisor of the values, after `offset` is subtracted; 255 for uint8.
        offset: subtracted from the values.
        class_names: names of class 0, 1 and so on; empty if unknown.

    Raises:
        ValueError: there is no image, or images and labels do not match.
    """

    name: str
    source: Images
    labels: np.ndarray
    scale: float = 1.0
    offset: float = 0.0
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the labels and the first image; values are checked in each batch."""
        check_images(self.batch(slice(0, 1)))
        labels = self.labels
        check_labels(labels, len(self), int(labels.max(initial=0)) + 1)

    @classmethod
    def of(cls, data: Any, input_range: tuple[float, float] = (0.0, 1.0)) -> ImageSet:
        """Return the image set for the argument `data` of `evaluate`.

        Args:
            data: name of a registered data set, whose test split is used; a `DataSet`
                or `Split`; a pair (x, y) of arrays; or an image set.
            input_range: (low, high) of the images in a pair of arrays.

        Raises:
            RegistryError: no data set has this name.
            TypeError: `data` is of another type.
            ValueError: images or labels are invalid or do not match.
        """
        if isinstance(data, cls):
            return data
        if isinstance(data, str):
            data = registry.resolve("datasets", data)()
        if hasattr(data, "test"):
            return cls.of_split(f"{data.name} (test)", data.test)
        if hasattr(data, "images") and hasattr(data, "labels"):
            return cls.of_split("the split given", data)
        if isinstance(data, tuple | list) and len(data) == 2:
            x, y = map(backend.to_numpy, data)
            y = class_labels(y)
            low, high = input_range
            if (low, high) == (0, 1):
                return cls("the arrays given", x, y)
            _check_range(x, low, high)
            return cls("the arrays given", x, y, high - low, low)
        raise TypeError(
            "`data` must be a pair (x, y) of arrays, the name of a data set, a DataSet "
            f"or a Split. Received: an object of type {type(data).__name__}."
        )

    @classmethod
    def of_split(cls, name: str, split: Split) -> ImageSet:
        """Return the images of a data set's split.

        Args:
            name: in words.
            split: its images, labels and names of classes.
        """
        names = tuple(split.class_names)
        return cls(name, split.images, split.labels, 255.0, class_names=names)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.source)

    def batch(self, indices: np.ndarray | slice) -> np.ndarray:
        """Return the images with these indices as floats in [0, 1].

        Args:
            indices: int (batch,), or a slice.
        """
        images = self.source[indices]
        if self.scale == 1 and not self.offset:
            return images
        images = images.astype("float32")
        return (images - self.offset if self.offset else images) / self.scale

    @cached_property
    def fingerprint(self) -> str:
        """Hash of images and labels, 16 hexadecimal digits."""
        pieces = range(0, len(self), PIECE)
        offset = [self.offset] if self.offset else []
        shape = [*self.source.shape, self.scale, *offset]
        digests = (fingerprint(self.source[i : i + PIECE]) for i in pieces)
        return fingerprint(shape, self.labels.astype("int64"), list(digests))


def _check_range(x: np.ndarray, low: float, high: float) -> None:
    if not x.size or x.min() < low or x.max() > high:
        found = f"values in [{x.min():g}, {x.max():g}]" if x.size else "no image"
        raise ValueError(
            f"Images must be in the `input_range` [{low:g}, {high:g}]. Received: "
            f"{found}."
        )
    if high > 2 and 0 <= x.min() and x.max() <= 1:
        raise ValueError(
            f"Images must be in the model's `input_range` [{low:g}, {high:g}]. "
            f"Received: values in [{x.min():g}, {x.max():g}], which seem to be scaled "
            f"to [0, 1] already. Multiply them by {high:g}."
        )
