"""Random numbers per image, independent of batch size, order and backend."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np

Key = int | str


class Noise:
    """Random numbers for each image, a function of (seed, number of the image, key).

    Each image and key has its own Philox stream (Salmon et al. 2011, as in NumPy). Seed
    and key determine the key of the cipher, and the number of the image is the highest
    word of its counter.

    Args:
        seed: any integer.
        indices: (batch,) integers >= 0, the numbers of the images in the data set.

    Raises:
        ValueError: `indices` are not integers >= 0 of shape (batch,).

    Example:
        >>> noise = kmtard.attacks.noise.Noise(seed=0, indices=np.array([5, 7]))
        >>> noise.uniform((8, 8, 1), "start").shape
        (2, 8, 8, 1)
    """

    def __init__(self, seed: int, indices: np.ndarray) -> None:
        indices = np.asarray(indices)
        if indices.ndim != 1 or indices.dtype.kind not in "iu" or (indices < 0).any():
            raise ValueError(
                "`indices` must be the numbers of the images, integers >= 0 of shape "
                f"(batch,). Received: {indices!r}."
            )
        self.seed = int(seed)
        self.indices = indices

    def take(self, rows: np.ndarray) -> Noise:
        """Return the noise of the given rows of the batch."""
        return Noise(self.seed, self.indices[rows])

    def uniform(self, shape: tuple[int, ...], *key: Key) -> np.ndarray:
        """Return (batch, *shape) float32, uniform in [0, 1)."""
        return self._draw(key, lambda stream: stream.random(shape, np.float32))

    def normal(self, shape: tuple[int, ...], *key: Key) -> np.ndarray:
        """Return (batch, *shape) float32, standard normal."""
        return self._draw(key, lambda stream: stream.standard_normal(shape, np.float32))

    def signs(self, shape: tuple[int, ...], *key: Key) -> np.ndarray:
        """Return (batch, *shape) float32, -1 or 1 with equal probability."""
        bits = self._draw(key, lambda stream: stream.integers(0, 2, shape, np.int8))
        return 2 * bits.astype("float32") - 1

    def integers(self, high: Any, shape: tuple[int, ...], *key: Key) -> np.ndarray:
        """Return (batch, *shape) int32, uniform in [0, high).

        Args:
            high: an integer > 0, or an array of the given shape.
            shape: shape of the numbers of one image.
            *key: names the stream.
        """
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
