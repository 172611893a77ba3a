"""The patterns and moves of Square in L2."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from kmtard.attacks import Square, square_l2
from kmtard.attacks.square import shares

pytestmark = pytest.mark.quick("torch")

SHAPE = (9, 8, 2)
BATCH = 50
EPSILON = 0.7


def keys() -> Any:
    return ops.convert_to_tensor(np.arange(2 * BATCH).reshape(BATCH, 2), "int32")


def length(change: np.ndarray, axis: tuple[int, ...] = (1, 2, 3)) -> np.ndarray:
    return np.sqrt((change**2).sum(axis=axis))


def grey() -> Any:
    return ops.full((BATCH, *SHAPE), 0.5, "float32")


def move(change: np.ndarray, epsilon: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """Return the change of each image after the first move."""
    change, epsilon = map(ops.convert_to_tensor, (change, epsilon))
    drawn = square_l2.draw(change, keys(), ops.ones(BATCH, "int32"), sides)
    return ops.convert_to_numpy(square_l2.moved(change, epsilon, drawn, sides))


@pytest.mark.once("torch")
@pytest.mark.parametrize("side", range(1, 12))
def test_pattern_is_a_hill_above_a_hollow(side: int) -> None:
    found = square_l2.pattern(side)
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-6)
    assert (found[: side // 2] > 0).all() and (found[side // 2 :] < 0).all()


@pytest.mark.once("torch")
def test_sides_are_odd_and_within_the_image() -> None:
    found = square_l2.sides(shares(10_000), 32, 32)
    assert found[0] == 29 and found[-1] == 3
    assert (found % 2 == 1).all()
    assert square_l2.sides(np.array([0.8]), 4, 40) == [4]


def test_start_is_tiles_of_one_length() -> None:
    found = ops.convert_to_numpy(square_l2.start(grey(), keys()))
    assert found.shape == (BATCH, *SHAPE)
    np.testing.assert_allclose(length(found), 1, atol=1e-5)
    # The margin of (9 - 5) // 2 pixels has no tile.
    assert not found[:, :2].any() and found[:, 2:, 2:].all()
    assert len(np.unique(found[:, 2, 2, 0] > 0)) == 2


def test_move_keeps_the_length_and_what_is_outside_of_both_windows() -> None:
    before = EPSILON * ops.convert_to_numpy(square_l2.start(grey(), keys()))
    epsilon = np.full((BATCH, 1, 1, 1), EPSILON, "float32")
    after = move(before, epsilon, np.array([3, 5], "int32"))
    np.testing.assert_allclose(length(after), EPSILON, atol=1e-5)
    for one, two in zip(before, after, strict=True):
        # The whole change is scaled to the length, so that kept pixels have one ratio.
        kept = two[one != 0] / one[one != 0]
        values, counts = np.unique(np.round(kept, 4), return_counts=True)
        ratio = values[counts.argmax()]
        touched = np.any(~np.isclose(two, ratio * one, atol=1e-4), axis=-1)
        assert 0 < touched.sum() <= 2 * 3**2
        removed = touched & (two == 0).all(axis=-1)
        rows, columns = np.nonzero(touched & ~removed)
        assert np.ptp(rows) < 3 and np.ptp(columns) < 3


def test_move_of_nothing_is_the_pattern() -> None:
    """Without an earlier change, only the new pattern is left."""
    side = 3
    nothing = np.zeros((BATCH, *SHAPE), "float32")
    epsilon = np.full((BATCH, 1, 1, 1), EPSILON, "float32")
    after = move(nothing, epsilon, np.array([side], "int32"))
    wanted = square_l2.pattern(side)
    turned = 0
    for image in after:
        rows, columns = (
            np.flatnonzero(image.any(axis=axes)) for axes in ((1, 2), (0, 2))
        )
        assert len(rows) == len(columns) == side
        for channel in np.moveaxis(image[np.ix_(rows, columns)], -1, 0):
            sign = np.sign(channel[0, -1] * channel[0, 0])
            turned += sign < 0
            pattern = wanted.T if sign < 0 else wanted
            scale = EPSILON / np.sqrt(SHAPE[-1]) * np.sign(channel[0, 0])
            np.testing.assert_allclose(channel, scale * pattern, atol=1e-5)
    assert 0 < turned < 2 * BATCH


def test_attack_uses_the_whole_radius_and_channels_first_is_the_same() -> None:
    net = keras.Sequential([layers.Input(SHAPE), layers.Flatten(), layers.Dense(3)])
    random = np.random.default_rng(3)
    net.set_weights([random.normal(0, 0.1, w.shape) for w in net.get_weights()])
    x = (0.4 + 0.2 * random.random((BATCH, *SHAPE))).astype("float32")
    y = ops.convert_to_numpy(net(x)).argmax(-1)
    result = Square(EPSILON, queries=40, norm="l2").run(net, x, y)
    assert 0 < result.success.sum() < BATCH
    moved = length(result.x_adv - x)
    np.testing.assert_allclose(moved[result.success], EPSILON, atol=0.02)
    assert moved.max() <= EPSILON + 1e-5 and not moved[~result.success].any()

    height, width, channels = SHAPE
    first = keras.Sequential(
        [
            layers.Input((channels, height, width)),
            layers.Flatten(data_format="channels_first"),
            layers.Dense(3),
        ]
    )
    first.set_weights(net.get_weights())
    other = Square(EPSILON, queries=40, norm="l2").run(
        first, x.transpose(0, 3, 1, 2), y
    )
    np.testing.assert_array_equal(other.queries, result.queries)
    np.testing.assert_allclose(
        other.x_adv.transpose(0, 2, 3, 1), result.x_adv, atol=1e-6
    )
