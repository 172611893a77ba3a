"""The random numbers made on the device."""

import numpy as np
import pytest
from keras import ops

from kmtard.attacks import counter


def int32(*values):
    return ops.convert_to_tensor(np.array(values, "uint32").view("int32"))


def numbers(count=9, batch=4, seed=1):
    keys = np.random.default_rng(seed).integers(0, 2**31 - 1, (batch, 2), "int32")
    return ops.convert_to_tensor(keys), count


@pytest.mark.parametrize(
    "key, count, wanted",
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_known_answers_of_the_threefry_authors(key, count, wanted):
    pair = counter.threefry(
        (int32(key[0]), int32(key[1])), (int32(count[0]), int32(count[1]))
    )
    words = [ops.convert_to_numpy(word).view("uint32").item() for word in pair]
    assert words == list(wanted)


def test_words_depend_on_key_and_draw_alone():
    keys, count = numbers()
    draws = ops.convert_to_tensor([[3, 5]], "int32")
    both = ops.convert_to_numpy(counter.words(keys, count, draws)[0])
    assert both.shape == (4, 2, 9)
    one = counter.words(keys[1:3], count, ops.convert_to_tensor([5, 5], "int32"))[0]
    np.testing.assert_array_equal(ops.convert_to_numpy(one), both[1:3, 1])
    assert len(np.unique(both)) == both.size


@pytest.mark.parametrize("limit", [1, 3, 7])
def test_below_is_uniform(limit):
    keys, count = numbers(20_000, 1)
    word = counter.words(keys, count, ops.zeros((1,), "int32"))[0]
    values = ops.convert_to_numpy(counter.below(word, limit))
    share = np.bincount(values.ravel(), minlength=limit) / count
    np.testing.assert_allclose(share, np.full(limit, 1 / limit), atol=0.02)


@pytest.mark.parametrize("limit", [0, -3])
def test_below_nothing_is_zero(limit):
    assert not ops.convert_to_numpy(counter.below(int32(1, 2, 2**31), limit)).any()


@pytest.mark.parametrize("draw", [counter.normal, counter.rademacher])
def test_directions_have_mean_zero_and_unit_covariance(draw):
    keys, count = numbers(7, 3)
    draws = ops.arange(20_000, dtype="int32")[None]
    values = ops.convert_to_numpy(draw(keys, count, draws))
    assert values.shape == (3, 20_000, 7) and values.dtype == "float32"
    flat = values.transpose(1, 0, 2).reshape(20_000, -1)
    np.testing.assert_allclose(flat.mean(0), 0, atol=0.04)
    np.testing.assert_allclose(np.cov(flat.T), np.eye(21), atol=0.06)


def test_normal_has_the_tails_of_its_law():
    keys, count = numbers(200_000, 1)
    values = ops.convert_to_numpy(counter.normal(keys, count, ops.zeros(1, "int32")))
    assert np.isfinite(values).all()
    for bound, share in {1: 0.3173, 2: 0.0455, 3: 0.0027}.items():
        assert np.mean(np.abs(values) > bound) == pytest.approx(share, rel=0.1)


def test_rademacher_is_plus_or_minus_one():
    keys, count = numbers(50)
    values = counter.rademacher(keys, count, ops.zeros((1,), "int32"))
    assert set(np.unique(ops.convert_to_numpy(values))) == {-1, 1}
