"""Images that are read when they are needed, for data larger than the memory."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np


class Reader(Protocol):
    """An object that reads images by their numbers, from several threads at once."""

    @property
    def shape(self) -> tuple[int, ...]:
        """`(count, height, width, channels)`."""

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Return the uint8 images `(n, height, width, channels)` of int64 `(n,)`."""


class LazyImages:
    """Images of a reader that can be indexed like an array.

    `Split` accepts them in place of an array, and training then reads one batch after
    the other. `np.asarray` reads all images at once.

    Args:
        reader: Reads the images. A memory-mapped array is a reader too.
        rows: Numbers of the images to use, int64 `(n,)`. None: all images.

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
        """Read one image `(height, width, channels)`, or several with a batch axis."""
        chosen = self._rows[rows]
        images = self._reader[np.atleast_1d(chosen)]
        return images if np.ndim(chosen) else images[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Read all images."""
        if copy is False:
            raise ValueError(
                "LazyImages are always read into a new array, so copy=False is not "
                "possible. Leave it out."
            )
        return self[:].astype(dtype or self.dtype, copy=False)

    def take(self, rows: np.ndarray) -> LazyImages:
        """Return the images at some positions, without reading them."""
        return LazyImages(self._reader, self._rows[rows])


Images = np.ndarray | LazyImages


def take(images: Images, rows: np.ndarray) -> Images:
    """Return `images[rows]`, without reading images that are not in memory.

    Args:
        images: `(count, height, width, channels)`.
        rows: int64 `(n,)`, numbers in `[0, count)`.
    """
    if isinstance(images, np.memmap):
        # As a plain array, because indexing the subclass np.memmap is slower.
        images = LazyImages(np.asarray(images))
    return images.take(rows) if isinstance(images, LazyImages) else images[rows]
