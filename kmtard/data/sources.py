"""Images that are read when they are needed, so that they need not fit in memory."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np


class Reader(Protocol):
    """What reads images by their numbers, from several threads at once."""

    @property
    def shape(self) -> tuple[int, ...]:
        """`(count, height, width, channels)`."""

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Return the uint8 images `(n, height, width, channels)` of int64 `(n,)`."""


class LazyImages:
    """Some of a reader's images, indexed like the array that they would make.

    `Split` takes them in place of an array, and a training then reads one batch after
    the other. `np.asarray` reads all.

    Args:
        reader: Reads the images; a memory-mapped array is a reader too.
        rows: Numbers of the reader's images, int64 `(n,)`. None: all of them.

    Example:
        >>> class Shades:
        ...     shape = (256, 8, 8, 1)
        ...
        ...     def __getitem__(self, rows):
        ...         return np.tile(rows[:, None, None, None], (8, 8, 1)).astype("uint8")
        >>> images = LazyImages(Shades())
        >>> images.shape
        (256, 8, 8, 1)
        >>> images[7].max()
        np.uint8(7)
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, reader: Reader, rows: np.ndarray | None = None) -> None:
        self._reader = reader
        self._rows = np.arange(reader.shape[0]) if rows is None else rows

    @property
    def shape(self) -> tuple[int, ...]:
        """`(count, height, width, channels)`."""
        return (len(self._rows), *self._reader.shape[1:])

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._rows)

    def __getitem__(self, rows: int | slice | np.ndarray) -> np.ndarray:
        """Read images: one of `(height, width, channels)`, or several."""
        chosen = self._rows[rows]
        images = self._reader[np.atleast_1d(chosen)]
        return images if np.ndim(chosen) else images[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Read all images."""
        if copy is False:
            raise ValueError("LazyImages are read into a new array; copy=False cannot.")
        return self[:].astype(dtype or self.dtype, copy=False)

    def take(self, rows: np.ndarray) -> LazyImages:
        """Return the images of some rows, still not read."""
        return LazyImages(self._reader, self._rows[rows])


Images = np.ndarray | LazyImages


def take(images: Images, rows: np.ndarray) -> Images:
    """Return `images[rows]`, without reading those that are in no memory.

    Args:
        images: `(count, height, width, channels)`.
        rows: int64 `(n,)`, numbers in `[0, count)`.
    """
    if isinstance(images, np.memmap):
        # Without its subclass, which costs time at each use.
        images = LazyImages(np.asarray(images))
    return images.take(rows) if isinstance(images, LazyImages) else images[rows]
