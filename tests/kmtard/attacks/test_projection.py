"""The move onto a hyperplane within the box, against its definition."""

import numpy as np
import pytest
from keras import ops

from kmtard.attacks.projection import box_projection, dual_length, length

SIZE = 12


def moves(points, normal, gap, norm="linf"):
    tensors = (ops.convert_to_tensor(a, "float32") for a in (points, normal, gap))
    return ops.convert_to_numpy(box_projection(*tensors, norm=norm))


@pytest.fixture(params=["linf", "l2"])
def norm(request):
    return request.param


@pytest.fixture
def problem():
    """Points, some coordinates of them on a face, and planes, half of them in reach."""
    random = np.random.default_rng(0)
    points = np.clip(random.uniform(-0.3, 1.3, (40, SIZE)), 0, 1)
    normal = random.normal(size=(40, SIZE)) * (random.random((40, SIZE)) > 0.2)
    return points, normal, random.normal(size=40) * SIZE / 4


@pytest.mark.golden("attacks/unit_goldens.npz")
def test_golden_attack_projection(golden):
    if "proj/delta" not in golden:
        pytest.skip("no proj/delta in this file")
    points, normal, offset = (golden[f"proj/{key}"] for key in ("points", "w", "b"))
    gap = (points * normal).sum(axis=1) - offset
    found = moves(points, normal, gap)
    np.testing.assert_allclose(found, golden["proj/delta"], rtol=0, atol=5e-7)


def bisected(points, normal, gap, norm):
    """Return the optimum by bisection of its time, in float64."""
    towards = -np.sign(normal) * np.sign(gap)[:, None]
    room = np.where(towards > 0, 1 - points, points) * (normal != 0)
    speed = np.ones_like(normal) if norm == "linf" else np.abs(normal)
    low, high = np.zeros((len(points), 1)), np.full((len(points), 1), 1e6)
    for _ in range(100):
        middle = (low + high) / 2
        closed = (np.abs(normal) * np.minimum(middle * speed, room)).sum(1)
        enough = (closed >= np.abs(gap))[:, None]
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return towards * np.minimum(high * speed, room)


def test_is_the_shortest(problem, norm):
    np.testing.assert_allclose(
        moves(*problem, norm), bisected(*problem, norm), rtol=0, atol=2e-6
    )


def test_reaches_the_plane_or_a_corner(problem, norm):
    points, normal, gap = problem
    move = moves(points, normal, gap, norm)
    end = points + move
    assert end.min() >= -1e-6 and end.max() <= 1 + 1e-6
    left = gap + (normal * move).sum(axis=1)
    reached = np.abs(left) <= 1e-5
    at_corner = np.isclose(end, normal * gap[:, None] < 0, atol=1e-6) | (normal == 0)
    assert 5 < reached.sum() < 35
    assert (reached | at_corner.all(axis=1)).all()


def test_does_not_depend_on_the_other_points(problem, norm):
    points, normal, gap = problem
    alone = [moves(*(a[row : row + 1] for a in problem), norm) for row in range(5)]
    together = moves(points, normal, gap, norm)[:5]
    np.testing.assert_allclose(together, np.concatenate(alone), atol=1e-6)


@pytest.mark.parametrize("change", ["no normal", "no gap"])
def test_stays_where_there_is_no_way_or_no_need(change, problem, norm):
    points, normal, gap = problem
    factors = (0, 1) if change == "no normal" else (1, 0)
    move = moves(points, factors[0] * normal, factors[1] * gap, norm)
    np.testing.assert_array_equal(move, np.zeros_like(move))


def test_lengths(norm):
    vector = ops.convert_to_tensor([[3.0, -4.0]])
    order, dual = {"linf": (np.inf, 1), "l2": (2, 2)}[norm]
    assert length(vector, norm)[0] == np.linalg.norm([3, -4], order)
    assert dual_length(vector, norm)[0] == np.linalg.norm([3, -4], dual)
