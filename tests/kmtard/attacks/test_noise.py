"""Chance belongs to an image: its seed, its number and the key."""

from __future__ import annotations

import numpy as np
import pytest

from kmtard.attacks.noise import Noise

pytestmark = pytest.mark.once("torch")

SHAPE = (5, 7)
DRAWS = {
    "uniform": lambda noise, *key: noise.uniform(SHAPE, *key),
    "normal": lambda noise, *key: noise.normal(SHAPE, *key),
    "signs": lambda noise, *key: noise.signs(SHAPE, *key),
    "integers": lambda noise, *key: noise.integers(9, SHAPE, *key),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_neither_batch_nor_order_matters(draw):
    whole = draw(Noise(3, np.arange(20)), "pgd", 1)
    rows = np.array([11, 4, 4, 19])
    np.testing.assert_array_equal(draw(Noise(3, rows), "pgd", 1), whole[rows])
    part = Noise(3, np.arange(20)).take(rows)
    np.testing.assert_array_equal(draw(part, "pgd", 1), whole[rows])


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_seed_number_and_every_part_of_the_key_matter(draw):
    first = draw(Noise(3, np.array([7])), "pgd", 1)
    for other in (
        draw(Noise(4, np.array([7])), "pgd", 1),
        draw(Noise(3, np.array([8])), "pgd", 1),
        draw(Noise(3, np.array([7])), "pgd", 2),
        draw(Noise(3, np.array([7])), "apgd", 1),
        draw(Noise(3, np.array([7])), "pgd"),
    ):
        assert (other != first).any()


def test_numbers_are_the_same_for_ever():
    noise = Noise(0, np.array([0, 2**40]))
    integers = [[638, 324, 180, 118], [261, 747, 629, 566]]
    np.testing.assert_array_equal(noise.integers(1000, (4,), "a", 1), integers)
    uniform = [[0.6384964, 0.3248311], [0.2612711, 0.7471414]]
    np.testing.assert_allclose(noise.uniform((2,), "a", 1), uniform, atol=1e-6)


def test_distributions():
    noise, shape = Noise(1, np.arange(100)), (1000,)
    uniform = noise.uniform(shape)
    assert 0 <= uniform.min() and uniform.max() < 1
    assert uniform.mean() == pytest.approx(0.5, abs=5e-3)
    normal = noise.normal(shape)
    assert (normal.mean(), normal.std()) == pytest.approx((0, 1), abs=0.02)
    signs = noise.signs(shape)
    assert set(np.unique(signs)) == {-1, 1} and abs(signs.mean()) < 0.02
    for values in (uniform, normal, signs):
        assert values.dtype == "float32"
        assert np.abs(np.corrcoef(values[:20]) - np.eye(20)).max() < 0.15


def test_limits_of_integers_may_differ_by_place():
    high = np.array([1, 2, 1000])
    drawn = Noise(0, np.arange(200)).integers(high, (3,), "window")
    assert drawn.dtype == "int32" and (drawn < high).all() and (drawn >= 0).all()
    np.testing.assert_array_equal(drawn.min(axis=0)[:2], [0, 0])
    assert drawn[:, 1].max() == 1 and drawn[:, 2].max() > 900


@pytest.mark.parametrize("indices", [[-1], [0.5], [[0]], 3])
def test_bad_numbers(indices):
    with pytest.raises(ValueError, match="indices"):
        Noise(0, np.array(indices))
