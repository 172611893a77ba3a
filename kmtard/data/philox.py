"""Philox, a counter-based random generator: any step can draw its numbers again.

This is Philox 4x32-10 of Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3,
2011. Seeds and numbers are used as in TensorFlow's stateless random functions on a CPU.
Training streams are therefore the same as in kmtard 0.1, which used TensorFlow. The
numbers do not depend on the version of NumPy.
"""

from __future__ import annotations

import numpy as np

_LOW = np.uint64(0xFFFFFFFF)
_HIGH = np.uint64(32)
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_KEY_STEPS = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_ROUNDS = 10
# TensorFlow scrambles a seed with this key, because seeds often differ in a few bits.
_SCRAMBLING_KEY = np.uint64(0x3EC8F720), np.uint64(0x02461E29)

Words = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def words(seeds: np.ndarray, count: int) -> np.ndarray:
    """Return random 32-bit words for each seed.

    The first words for a seed do not depend on `count`.

    Args:
        seeds: int64 `(n, 2)`.
        count: Number of words for each seed.

    Returns:
        uint32 `(n, count)`.

    Example:
        >>> words(np.array([[3, 7]]), 2)
        array([[  99675130, 2592316717]], dtype=uint32)
    """
    bits = np.asarray(seeds, np.int64).view(np.uint64)[:, :, np.newaxis]
    first, second, third, fourth = _philox(
        *_halves(bits[:, 0]), *_halves(bits[:, 1]), *_SCRAMBLING_KEY
    )
    # Each counter gives four words. Its lower half is their number, the upper the seed.
    counter = np.arange(-(-count // 4), dtype=np.uint64)[np.newaxis]
    drawn = _philox(*_halves(counter), third, fourth, first, second)
    together = np.stack(drawn, axis=-1).reshape(len(bits), -1)
    return together[:, :count].astype(np.uint32)


def integers(seeds: np.ndarray, count: int) -> np.ndarray:
    """Return random 64-bit integers, int64 `(n, count)`; see `words`."""
    return words(seeds, 2 * count).astype("<u4", copy=False).view("<i8")


def permutation(seed: np.ndarray, count: int) -> np.ndarray:
    """Return the numbers from 0 to `count - 1` in random order.

    Args:
        seed: int64 `(2,)`.
        count: At least 1.

    Returns:
        int64 `(count,)`.

    Example:
        >>> sorted(permutation(np.array([3, 7]), 4).tolist())
        [0, 1, 2, 3]
    """
    left = np.arange(count, 1, -1, dtype=np.uint32)
    places = np.arange(count - 1) + words(seed[np.newaxis], count - 1)[0] % left
    order = list(range(count))
    # The Fisher-Yates shuffle swaps single elements, which is faster in a list.
    for place, other in enumerate(places.tolist()):
        order[place], order[other] = order[other], order[place]
    return np.array(order, np.int64)


def _halves(number: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return number & _LOW, number >> _HIGH


def _philox(
    c0: np.ndarray,
    c1: np.ndarray,
    c2: np.ndarray,
    c3: np.ndarray,
    k0: np.ndarray | np.uint64,
    k1: np.ndarray | np.uint64,
) -> Words:
    """Return four words for each counter. All arrays are uint64 with values < 2**32."""
    for _ in range(_ROUNDS):
        low0, high0 = _halves(c0 * _MULTIPLIERS[0])
        low1, high1 = _halves(c2 * _MULTIPLIERS[1])
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + _KEY_STEPS[0]) & _LOW, (k1 + _KEY_STEPS[1]) & _LOW
    return c0, c1, c2, c3
