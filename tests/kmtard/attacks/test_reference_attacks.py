"""Attacks against other packages, on the golden networks.

`tests/reference/attacks.py` made the numbers and names the packages. Deterministic
attacks must find the same images to 1e-5. An attack with random numbers of its own must
leave as many images robust as the other package, on average over seeds.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from kmtard.attacks import Attack, AutoAttack, Square, square_l2
from kmtard.attacks.autoattack import members

FOLDER = Path(__file__).parents[2] / "reference" / "attacks"
IMAGES = 256
CLOSE = 2 / IMAGES
"""Accepted difference of robust accuracies: 2 images of 256."""


@functools.cache
def reference(family: str) -> dict[str, np.ndarray]:
    with np.load(FOLDER / f"{family}.npz") as arrays:
        return dict(arrays)


def of_net(net: Any, family: str, name: str) -> np.ndarray:
    """Return an array for a golden network, or skip the test for other networks."""
    if net.prefix != "digits_a":
        pytest.skip("only the networks of this repository were attacked")
    return reference(family)[f"{net.name}/{name}"]


def robust(net: Any, attack: Attack, rows: Any = slice(IMAGES), seed: int = 0) -> Any:
    indices = np.arange(len(net.x))[rows]
    x, y = net.x[rows], net.y[rows]
    result = attack.run(net.model, x, y, indices=indices, seed=seed)
    moved = np.linalg.norm((result.x_adv - x).reshape(len(x), -1), axis=1)
    assert moved.max() <= attack.epsilon + 1e-5
    return ~result.success


def test_moves_of_square_in_l2() -> None:
    """A whole run with the random choices of the other package."""
    found = {
        key.partition("/")[2]: values
        for key, values in reference("square_l2").items()
        if key.startswith("moves/")
    }
    x, seen = found["x"], found["seen"]
    batch, height, width, channels = x.shape
    moves = len(seen) - 1
    tiles = len(found["signs"]) - moves
    turned, signs = found["turned"][:, 0], found["signs"][..., 0, 0]
    shape = (5, tiles // 5)
    change = square_l2.tiled(
        x,
        np.broadcast_to(turned[:tiles].reshape(shape), (batch, *shape)),
        np.moveaxis(signs[:tiles], 1, 0).reshape(batch, *shape, channels),
    )
    epsilon = np.full((batch, 1, 1, 1), 0.6, "float32")
    images = np.clip(x + epsilon * ops.convert_to_numpy(change), 0, 1)
    np.testing.assert_allclose(images, seen[0], atol=1e-5)
    sides = square_l2.sides(found["shares"], height, width)
    places = found["places"].reshape(moves, 2, 2).astype("int32")
    for number in range(moves):
        everywhere = functools.partial(np.full, batch)
        corner, emptied = (tuple(map(everywhere, corner)) for corner in places[number])
        drawn = square_l2.Draw(
            side=everywhere(sides[number]),
            corner=corner,
            emptied=emptied,
            turned=everywhere(turned[tiles + number]),
            signs=signs[tiles + number],
        )
        change = square_l2.moved(
            ops.convert_to_tensor(seen[number] - x),
            epsilon,
            keras.tree.map_structure(ops.convert_to_tensor, drawn),
            sides,
        )
        images = np.clip(x + ops.convert_to_numpy(change), 0, 1)
        np.testing.assert_allclose(images, seen[number + 1], atol=1e-5)


def test_square_in_l2(golden_net: Any) -> None:
    """One seed here, ten there: within three standard deviations of the seeds."""
    seeds = of_net(golden_net, "square_l2", "robust").mean(axis=1)
    found = robust(golden_net, Square(0.8, queries=301, norm="l2")).mean()
    assert abs(found - seeds.mean()) <= 3 * seeds.std(ddof=1)


def test_autoattack_in_l2_on_some_images(golden_net: Any) -> None:
    """All four attacks, Square cut short, on every fourth image."""
    rows = np.arange(0, IMAGES, 4)
    wanted = of_net(golden_net, "autoattack_l2", "square")[rows]
    attacks = {
        **members(0.8, norm="l2"),
        "square": Square(0.8, queries=101, norm="l2"),
    }
    found = robust(golden_net, AutoAttack(0.8, norm="l2", attacks=attacks), rows)
    assert np.mean(found != wanted) <= CLOSE


@pytest.mark.slow
def test_autoattack_in_l2(golden_net: Any) -> None:
    x, y = golden_net.x[:IMAGES], golden_net.y[:IMAGES]
    result = AutoAttack(0.8, norm="l2").run(golden_net.model, x, y)
    for name, stage in result.stages.items():
        wanted = of_net(golden_net, "autoattack_l2", name)
        # The stable cross-entropy finds a little more than the other package's.
        assert -2 * CLOSE <= stage.robust.mean() - wanted.mean() <= CLOSE
    assert np.mean(~result.success != wanted) <= CLOSE
