"""The source of corrupted images: they are generated, or read from files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from kmtard.evaluation.corruptions.choice import LABELS_FILE, Corruptions
from kmtard.evaluation.corruptions.severities import severities_of
from kmtard.evaluation.corruptions.transforms import check_shape, corrupted
from kmtard.evaluation.images import ImageSet
from kmtard.evaluation.pictures import to_pixels
from kmtard.registry.corruptions import DIFFERENCES, SEVERITIES
from kmtard.runs.intact import sha256_of

VERSION = 1
"""Increase it when the images of a corruption change."""


class CorruptedImages(Protocol):
    """The corrupted images of an image set."""

    def settings(self, name: str) -> Mapping[str, Any]:
        """Return what determines the images of a corruption, as plain JSON."""

    def pixels(self, name: str, severity: int, indices: np.ndarray) -> np.ndarray:
        """Return uint8 (batch, height, width, channels).

        Args:
            name: the corruption.
            severity: 1 to 5.
            indices: int (batch,), indices of the images.
        """


class Generated:
    """Images that are corrupted here; see `transforms`.

    Args:
        images: the clean images. Their values are rounded to whole numbers of 0 to 255.
        seed: seed of the random numbers.
        channels_last: whether the channels of the clean images are last.

    Raises:
        ValueError: images of this shape cannot be corrupted.
    """

    def __init__(self, images: ImageSet, *, seed: int, channels_last: bool) -> None:
        self._images, self._seed, self._last = images, seed, channels_last
        self._shape = self._clean(np.zeros(1, int)).shape
        check_shape(self._shape)

    def settings(self, name: str) -> Mapping[str, Any]:
        """Return the constants, and how the images differ from the published ones."""
        constants = severities_of(*self._shape[1:3])[name]
        found: dict[str, Any] = {"source": "generated", "version": VERSION}
        found["constants"] = [list(each) for each in constants]
        if name in DIFFERENCES:
            found["difference"] = DIFFERENCES[name]
        return found

    def pixels(self, name: str, severity: int, indices: np.ndarray) -> np.ndarray:
        """Return corrupted images; see `CorruptedImages`."""
        clean = self._clean(indices)
        return corrupted(
            clean, name, severity, seed=self._seed, indices=indices.tolist()
        )

    def _clean(self, indices: np.ndarray) -> np.ndarray:
        found = to_pixels(self._images.batch(indices))
        return found if self._last or found.ndim != 4 else np.moveaxis(found, 1, -1)


class Published:
    """The files of CIFAR-10-C, or of another data set in this form.

    Each file holds uint8 (5 N, height, width, channels), the images in the order of the
    test set at severity 1, then at severity 2, and so on.

    Args:
        folder: folder of the files.
        images: the clean images that they were made from, all in their order.

    Raises:
        ValueError: the labels are not those of the clean images.
    """

    def __init__(self, folder: Path, images: ImageSet) -> None:
        self._folder, self._count = folder, len(images)
        self._files: dict[str, np.ndarray] = {}
        labels = _array(folder / LABELS_FILE)
        expected = np.tile(images.labels, len(SEVERITIES))
        if not np.array_equal(labels.ravel(), expected):
            raise ValueError(
                f"Expected the labels of the {len(images)} evaluated images in "
                f"{folder / LABELS_FILE}, {len(SEVERITIES)} times. Received: "
                f"{labels.size} labels"
                + (", and some differ" if labels.size == len(expected) else "")
                + ". Evaluate the whole test set of this data set, without a limit."
            )

    def settings(self, name: str) -> Mapping[str, Any]:
        """Return the hash of the file."""
        path = self._folder / f"{name}.npy"
        return {"source": "published", "file": path.name, "sha256": sha256_of(path)}

    def pixels(self, name: str, severity: int, indices: np.ndarray) -> np.ndarray:
        """Return images of the file; see `CorruptedImages`.

        Raises:
            ValueError: the file does not hold such images.
        """
        if name not in self._files:
            path = self._folder / f"{name}.npy"
            found = _array(path)
            count = len(SEVERITIES) * self._count
            if found.ndim != 4 or found.dtype != np.uint8 or len(found) != count:
                raise ValueError(
                    f"Expected uint8 images ({count}, height, width, channels) in "
                    f"{path}. Received: {found.dtype} {found.shape}."
                )
            self._files[name] = found
        start = SEVERITIES.index(severity) * self._count
        return np.asarray(self._files[name][start + indices])


def source_of(
    corruptions: Corruptions, images: ImageSet, *, seed: int, channels_last: bool
) -> CorruptedImages:
    """Return the source of the corrupted images.

    Args:
        corruptions: what the user asks for.
        images: the clean images.
        seed: seed of the random numbers.
        channels_last: whether the channels of the clean images are last.

    Raises:
        ValueError: the images cannot be corrupted, or the files are not theirs.
    """
    if corruptions.folder is None:
        return Generated(images, seed=seed, channels_last=channels_last)
    return Published(corruptions.folder, images)


def _array(path: Path) -> np.ndarray:
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (EOFError, OSError, ValueError) as error:
        raise ValueError(
            f"Expected an array of NumPy in {path}: {error}. Download it again."
        ) from error
