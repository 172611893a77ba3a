"""The generator gives the published numbers, and has its documented properties."""

from __future__ import annotations

import numpy as np
import pytest

from kmtard.data import philox

pytestmark = pytest.mark.once("jax")


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ("00000000" * 4, "00000000" * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff" * 4, "ffffffff" * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            "243f6a8885a308d313198a2e03707344",
            "a4093822299f31d0",
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_known_answers_of_its_authors(counter: str, key: str, expected: str) -> None:
    """From `kat_vectors` of their library Random123, philox4x32 with 10 rounds."""
    words = [
        np.array([int(text[i : i + 8], 16)], np.uint64)
        for text in (counter, key)
        for i in range(0, len(text), 8)
    ]
    drawn = philox._philox(*words)
    assert " ".join(f"{int(word[0]):08x}" for word in drawn) == expected


def test_words_of_many_seeds_at_once() -> None:
    seeds = np.array([[0, 0], [3, 7], [-1, 2**62]])
    together = philox.words(seeds, 11)
    assert together.shape == (3, 11) and together.dtype == np.uint32
    for seed, row in zip(seeds, together, strict=True):
        assert np.array_equal(philox.words(seed[np.newaxis], 11)[0], row)
        assert np.array_equal(philox.words(seed[np.newaxis], 5)[0], row[:5])
    assert len(np.unique(together)) == together.size


def test_integers_use_all_bits() -> None:
    drawn = philox.integers(np.array([[1, 2]]), 999)
    assert drawn.shape == (1, 999) and drawn.dtype == np.int64
    ones = (drawn.view(np.uint64) >> np.arange(64, dtype=np.uint64)[:, None]) & 1
    # Half of 999, give or take 5 sigma.
    assert np.abs(ones.sum(1) - 499.5).max() < 80


@pytest.mark.parametrize("count", [1, 2, 3, 100])
def test_permutation_holds_every_number_once(count: int) -> None:
    order = philox.permutation(np.array([5, count]), count)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(count))


def test_permutations_are_even() -> None:
    orders = [philox.permutation(np.array([0, i]), 3).tolist() for i in range(600)]
    counts = np.unique(orders, axis=0, return_counts=True)[1]
    # 100 of each of the six, give or take 5 sigma.
    assert len(counts) == 6 and np.abs(counts - 100).max() < 46
