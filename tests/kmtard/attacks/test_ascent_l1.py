"""Auto-PGD in the L1 ball: its projection, its sparse steps and its checkpoints."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from kmtard.attacks import ascent_l1
from kmtard.attacks.ascent_l1 import SparseAscent

SIZE = 12
NUMBERS = st.floats(0, 1, width=32)
CHANGES = st.one_of(
    st.floats(-3, 3, width=32), st.sampled_from([0.0, 0.25, -0.25, 1.0])
)


def projected(change: np.ndarray, x: np.ndarray, epsilon: Any) -> np.ndarray:
    """Return the projection of changes (batch, d)."""
    tensors = (ops.convert_to_tensor(a, "float32") for a in (change, x))
    return ops.convert_to_numpy(ascent_l1.project(*tensors, epsilon))


def exact(change: np.ndarray, x: np.ndarray, epsilon: float) -> np.ndarray:
    """Return the projection by bisection of its multiplier, in float64.

    The conditions of Karush, Kuhn and Tucker of each coordinate have the solution that
    is clipped below; the multiplier belongs to the length.
    """
    change, x = change.astype("float64"), x.astype("float64")

    def at(multiplier: float) -> np.ndarray:
        shrunk = np.sign(change) * np.maximum(np.abs(change) - multiplier, 0)
        return np.clip(shrunk, -x, 1 - x)

    low, high = 0.0, float(np.abs(change).max()) + 1
    if np.abs(at(low)).sum() <= epsilon:
        return at(low)
    for _ in range(200):
        middle = (low + high) / 2
        outside = np.abs(at(middle)).sum() > epsilon
        low, high = (middle, high) if outside else (low, middle)
    return at(high)


@given(
    x=st.lists(NUMBERS, min_size=SIZE, max_size=SIZE),
    change=st.lists(CHANGES, min_size=SIZE, max_size=SIZE),
    epsilon=st.one_of(st.just(0.0), st.floats(0.125, 8, width=32)),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_projection(x: list[float], change: list[float], epsilon: float) -> None:
    image, moved = (np.array([values], "float32") for values in (x, change))
    found = projected(moved, image, epsilon)
    assert np.abs(found).sum() <= epsilon + 1e-5
    assert (image + found).min() >= -1e-6 and (image + found).max() <= 1 + 1e-6
    np.testing.assert_allclose(projected(found, image, epsilon), found, atol=1e-5)
    np.testing.assert_allclose(
        found[0], exact(moved[0], image[0], epsilon), rtol=0, atol=1e-5
    )


def test_nothing_in_the_ball_and_the_box_is_nearer() -> None:
    random = np.random.default_rng(0)
    x, change = random.random((1, SIZE)), random.normal(size=(1, SIZE))
    found = projected(change, x, 1.0)
    nearest = np.linalg.norm(found - change)
    for _ in range(2_000):
        other = found + random.normal(0, 0.1, (1, SIZE))
        other = np.clip(other, -x, 1 - x)
        other *= min(1, 1 / np.abs(other).sum())
        assert np.linalg.norm(other - change) >= nearest - 1e-6


def test_projection_has_one_radius_per_image() -> None:
    random = np.random.default_rng(1)
    x, change = random.random((3, SIZE)), random.normal(size=(3, SIZE))
    radii = np.array([[0.1], [1.0], [50.0]], "float32")
    found = projected(change, x, ops.convert_to_tensor(radii))
    lengths = np.abs(found).sum(axis=1)
    np.testing.assert_allclose(lengths[:2], [0.1, 1.0], atol=1e-5)
    np.testing.assert_allclose(found[2], np.clip(change[2], -x[2], 1 - x[2]), atol=1e-6)


def test_largest_keeps_the_largest_entries_and_equal_ones() -> None:
    gradient = ops.convert_to_tensor([[3.0, -1, 2, 0], [1.0, -1, 0.5, 1]])
    kept = ops.convert_to_tensor([2, 1], "int32")
    found = ops.convert_to_numpy(ascent_l1.largest(gradient, kept))
    np.testing.assert_array_equal(found, [[3, 0, 2, 0], [1, -1, 0, 1]])


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 4, 7, 20, 100, 1_000])
def test_stages_use_all_steps(steps: int) -> None:
    radii, lengths = zip(*ascent_l1.stages(steps), strict=True)
    assert radii == (3, 2, 1)
    assert sum(lengths) == steps and min(lengths) >= 0
    if steps > 4:
        assert lengths[0] == lengths[1] == np.ceil(0.3 * steps)


def test_window_is_four_percent_of_the_steps() -> None:
    assert [ascent_l1.window(n) for n in (1, 25, 49, 50, 100)] == [1, 1, 1, 2, 4]


def state(**changes: Any) -> SparseAscent:
    """Return a search over two images of four pixels, after two steps."""
    images = np.zeros((2, 4), "float32")
    names = ("u", "gradient", "best", "best_gradient", "adversarial")
    plain = SparseAscent(
        **dict.fromkeys(names, images),
        step_size=np.array([2, 2], "float32"),
        kept=np.array([4, 4], "int32"),
        changed=np.array([4, 4], "int32"),
        taken=np.array([2, 2], "int32"),
        best_loss=np.zeros(2, "float32"),
        fooled=np.zeros(2, bool),
    )
    return SparseAscent(*map(ops.convert_to_tensor, plain._replace(**changes)))


def stepped(before: SparseAscent, loss: float = -1.0, every: int = 3) -> SparseAscent:
    """Return the state after a step from x = 0.5 in the ball of radius 2."""

    def evaluate(u: Any) -> tuple[Any, Any, Any]:
        same = ops.zeros((2,))
        return same + loss, 7 * ops.ones_like(u), same > 0

    x = ops.convert_to_tensor(np.full((2, 4), 0.5, "float32"))
    epsilon = ops.convert_to_tensor(np.full((2, 1), 2, "float32"))
    after = ascent_l1.step(evaluate, before, x, epsilon, every)
    return SparseAscent(*map(ops.convert_to_numpy, after))


def test_step_divides_its_length_among_the_largest_entries() -> None:
    u = np.full((2, 4), 0.5, "float32")
    gradient = np.array([[4, 3, 2, 1], [-4, 3, 2, 1]], "float32")
    before = state(
        u=u, gradient=gradient, kept=np.array([2, 3], "int32"), best=u, best_gradient=u
    )
    before = before._replace(step_size=ops.convert_to_tensor([0.2, 0.3]))
    after = stepped(before, every=4)
    moved = after.u - 0.5
    wanted = [[0.1, 0.1, 0, 0], [-0.1, 0.1, 0.1, 0]]
    np.testing.assert_allclose(moved, wanted, atol=1e-6)
    assert (moved[:, 3] == 0).all(), "pixels that do not change are exactly x"


def test_checkpoint() -> None:
    """The first image's best point became sparser, the second's did not."""
    best = np.array([[0.9, 0.5, 0.5, 0.5], [0.9, 0.9, 0.9, 0.9]], "float32")
    before = state(u=np.full((2, 4), 0.5, "float32"), best=best, best_gradient=best)
    after = stepped(before)
    np.testing.assert_array_equal(after.changed, [1, 4])
    np.testing.assert_array_equal(after.kept, [1, 3])
    np.testing.assert_allclose(after.step_size, [2, 2 / 1.5])
    np.testing.assert_allclose(after.u[0], best[0])
    np.testing.assert_allclose(after.gradient, [best[0], [7] * 4])
    assert (after.u[1] != best[1]).any()


def test_no_checkpoint_before_the_window_ends() -> None:
    best = np.full((2, 4), 0.9, "float32")
    after = stepped(state(best=best), every=4)
    np.testing.assert_array_equal(after.kept, [4, 4])
    np.testing.assert_array_equal(after.step_size, [2, 2])
    np.testing.assert_array_equal(after.taken, [3, 3])


def test_step_size_has_a_lower_bound() -> None:
    best = np.full((2, 4), 0.9, "float32")
    before = state(best=best, step_size=np.array([0.21, 0.2], "float32"))
    np.testing.assert_allclose(stepped(before).step_size, [0.2, 0.2])


def test_best_point_has_the_largest_loss() -> None:
    after = stepped(state(), loss=1.0)
    np.testing.assert_array_equal(after.best, after.u)
    np.testing.assert_array_equal(after.best_loss, [1, 1])
    after = stepped(state(), loss=0.0)
    np.testing.assert_array_equal(after.best, np.zeros((2, 4)))
