"""Tests of kmtard.data.digits."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from kmtard.data.digits import digits

pytestmark = pytest.mark.once("jax")


def test_sizes_and_shape() -> None:
    data = digits()
    assert (data.name, data.num_classes) == ("digits", 10)
    assert data.input_shape == (8, 8, 1)
    assert (len(data.train), len(data.test)) == (1437, 360)


def test_intensities_fill_the_byte_range() -> None:
    data = digits()
    values = np.unique(data.train.images)
    assert values.tolist() == [int(np.round(v * 255 / 16)) for v in range(17)]


def test_both_splits_together_are_the_digits_each_once() -> None:
    data, source = digits(), load_digits()
    parts = [
        np.column_stack([split.labels, split.images.reshape(len(split), -1)])
        for split in (data.train, data.test)
    ]
    flat = np.round(source.data * 255 / 16).astype(int)
    expected = np.column_stack([source.target, flat]).tolist()
    assert sorted(np.concatenate(parts).tolist()) == sorted(expected)


def test_every_class_has_its_share_in_the_test_split() -> None:
    data = digits()
    test, train = np.bincount(data.test.labels), np.bincount(data.train.labels)
    assert np.abs(test - 0.2 * (test + train)).max() <= 1


def test_the_test_split_never_changes() -> None:
    test = digits().test
    assert test.labels[:12].tolist() == [4, 6, 0, 6, 9, 5, 6, 9, 3, 1, 0, 6]
    assert int(test.images.sum()) == 1809838


def test_a_directory_is_refused() -> None:
    with pytest.raises(ValueError, match="takes no directory.*'somewhere'"):
        digits("somewhere")
