"""Random numbers that belong to an image, whatever batch, order or backend it meets."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np

Key = int | str


class Noise:
    """Random numbers of each image, from (seed, number of the image, key) alone.

    Every image and key has a Philox stream of its own (Salmon et al. 2011, as in
    NumPy): the seed and the key choose the cipher's key, the image's number is the
    high word of its counter.

    Args:
        seed: any integer.
        indices: (batch,) integers >= 0, the images' numbers in the whole data set.

    Raises:
        ValueError: `indices` are not such numbers.
    """

    def __init__(self, seed: int, indices: np.ndarray) -> None:
        indices = np.asarray(indices)
        if indices.ndim != 1 or indices.dtype.kind not in "iu" or (indices < 0).any():
            raise ValueError(
                "`indices` must be the images' numbers, integers >= 0 of shape "
                f"(batch,). Received: {indices!r}"
            )
        self.seed = int(seed)
        self.indices = indices

    def take(self, rows: np.ndarray) -> Noise:
        """Return the noise of these rows of the batch."""
        return Noise(self.seed, self.indices[rows])

    def uniform(self, shape: tuple[int, ...], *key: Key) -> np.ndarray:
        """Return (batch, *shape) float32 in [0, 1)."""
        return self._draw(key, lambda stream: stream.random(shape, np.float32))

    def normal(self, shape: tuple[int, ...], *key: Key) -> np.ndarray:
        """Return (batch, *shape) float32 of mean 0 and variance 1."""
        return self._draw(key, lambda stream: stream.standard_normal(shape, np.float32))

    def signs(self, shape: tuple[int, ...], *key: Key) -> np.ndarray:
        """Return (batch, *shape) float32, -1 or 1 with equal chances."""
        bits = self._draw(key, lambda stream: stream.integers(0, 2, shape, np.int8))
        return 2 * bits.astype("float32") - 1

    def integers(self, high: Any, shape: tuple[int, ...], *key: Key) -> np.ndarray:
        """Return (batch, *shape) int32 in [0, high); `high` may be of that shape."""
        return self._draw(key, lambda stream: stream.integers(0, high, shape, np.int32))

    def _draw(
        self, key: tuple[Key, ...], draw: Callable[[np.random.Generator], np.ndarray]
    ) -> np.ndarray:
        name = "/".join(str(part) for part in (self.seed, *key))
        words = np.frombuffer(hashlib.blake2b(name.encode()).digest()[:16], np.uint64)
        streams = (
            np.random.Generator(np.random.Philox(key=words, counter=[0, 0, 0, index]))
            for index in self.indices.tolist()
        )
        return np.stack([draw(stream) for stream in streams])
