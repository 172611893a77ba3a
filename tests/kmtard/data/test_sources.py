"""Images that are read by their numbers."""

from __future__ import annotations

import numpy as np
import pytest

from kmtard.data.sources import LazyImages, take

pytestmark = pytest.mark.once("jax")

ARRAY = np.arange(7 * 4, dtype=np.uint8).reshape(7, 2, 2, 1)


class Reader:
    """Notes what it reads."""

    shape = ARRAY.shape

    def __init__(self) -> None:
        self.read: list[int] = []

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        self.read += rows.tolist()
        return ARRAY[rows]


@pytest.mark.parametrize(
    "rows",
    [3, -1, slice(2, 5), slice(0), np.array([5, 0, 5]), np.arange(7) > 4],
    ids=str,
)
def test_indexed_like_the_array(rows: int | slice | np.ndarray) -> None:
    images = LazyImages(Reader())
    assert (images.shape, images.dtype, images.ndim) == (ARRAY.shape, np.uint8, 4)
    assert len(images) == 7
    np.testing.assert_array_equal(images[rows], ARRAY[rows], strict=True)


def test_a_part_reads_only_what_is_asked_for() -> None:
    reader = Reader()
    images = take(take(LazyImages(reader), np.array([6, 2, 4])), np.array([2, 0]))
    assert images.shape == (2, 2, 2, 1) and reader.read == []
    np.testing.assert_array_equal(images[1], ARRAY[6])
    assert reader.read == [6]
    np.testing.assert_array_equal(np.asarray(images), ARRAY[[4, 6]])
    assert np.asarray(images, "float32").dtype == np.float32


def test_there_is_no_array_to_share() -> None:
    with pytest.raises(ValueError, match="copy=False"):
        np.asarray(LazyImages(Reader()), copy=False)


def test_numbers_outside_are_refused() -> None:
    with pytest.raises(IndexError):
        LazyImages(Reader())[7]
