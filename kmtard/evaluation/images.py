"""The labeled images that models are evaluated on, read batch by batch."""

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

PIECE = 1024  # images that a fingerprint reads at a time


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images and labels in a fixed order; only a batch at a time becomes float32.

    Args:
        name: in words.
        source: (N, height, width, channels), or channels first: floats in [0, 1], or
            uint8 where `scale` is 255; images that are read when they are needed too.
        labels: int (N,).
        scale: what the values are divided by.
        offset: what is taken off the values before.
        class_names: what people call class 0, 1 and so on; empty where nobody says.

    Raises:
        ValueError: there is no image, or images and labels do not fit each other.
    """

    name: str
    source: Images
    labels: np.ndarray
    scale: float = 1.0
    offset: float = 0.0
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check what is cheap to check; the values are checked batch by batch."""
        check_images(self.batch(slice(0, 1)))
        labels = self.labels
        check_labels(labels, len(self), int(labels.max(initial=0)) + 1)

    @classmethod
    def of(cls, data: Any, input_range: tuple[float, float] = (0.0, 1.0)) -> ImageSet:
        """Return the image set that `evaluate` was given as its `data`.

        Args:
            data: name of a registered data set, of which the test split is used; a
                `DataSet` or `Split`; a pair (x, y) of arrays; or an image set.
            input_range: of the images in a pair of arrays.

        Raises:
            RegistryError: no data set has that name.
            TypeError: `data` is something else.
            ValueError: images or labels do not fit, or lie outside their range.
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
            f"or a Split. Received: {type(data).__name__}."
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
        """Return images in [0, 1], floats.

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
        """16 hexadecimal digits that stand for images and labels."""
        pieces = range(0, len(self), PIECE)
        offset = [self.offset] if self.offset else []
        shape = [*self.source.shape, self.scale, *offset]
        digests = (fingerprint(self.source[i : i + PIECE]) for i in pieces)
        return fingerprint(shape, self.labels.astype("int64"), list(digests))


def _check_range(x: np.ndarray, low: float, high: float) -> None:
    if not x.size or x.min() < low or x.max() > high:
        found = f"values in [{x.min():g}, {x.max():g}]" if x.size else "no image"
        raise ValueError(
            f"Images must lie in the `input_range` [{low:g}, {high:g}]. Received: "
            f"{found}."
        )
    if high > 2 and 0 <= x.min() and x.max() <= 1:
        raise ValueError(
            f"Images must be of the model's `input_range` [{low:g}, {high:g}]. "
            f"Received: values in [{x.min():g}, {x.max():g}]; were they divided "
            f"already? Multiply them by {high:g}."
        )
