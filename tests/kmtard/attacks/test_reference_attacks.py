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
from keras import layers, ops

from kmtard.attacks import (
    APGD,
    CWL2,
    DDN,
    FMN,
    PGD,
    Attack,
    AutoAttack,
    DeepFool,
    HopSkipJump,
    MomentumFGSM,
    Square,
    apgd_ce,
    apgd_t,
    ascent_l1,
    hop_skip_jump,
    momentum,
    square_l2,
)
from kmtard.attacks.autoattack import members
from kmtard.attacks.base import AttackBatch
from kmtard.attacks.classifier import Classifier
from kmtard.attacks.noise import Noise

pytestmark = pytest.mark.quick("torch")

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


def robust(
    net: Any,
    attack: Attack,
    rows: Any = slice(IMAGES),
    seed: int = 0,
    order: float = 2,
) -> Any:
    indices = np.arange(len(net.x))[rows]
    x, y = net.x[rows], net.y[rows]
    result = attack.run(net.model, x, y, indices=indices, seed=seed)
    moved = np.linalg.norm((result.x_adv - x).reshape(len(x), -1), order, axis=1)
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
    tensor = ops.convert_to_tensor
    change = square_l2.tiled(
        tensor(x),
        tensor(np.broadcast_to(turned[:tiles].reshape(shape), (batch, *shape)).copy()),
        tensor(np.moveaxis(signs[:tiles], 1, 0).reshape(batch, *shape, channels)),
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
            tensor(seen[number] - x),
            tensor(epsilon),
            keras.tree.map_structure(tensor, drawn),
            sides,
        )
        images = np.clip(x + ops.convert_to_numpy(change), 0, 1)
        np.testing.assert_allclose(images, seen[number + 1], atol=1e-5)


def test_square_in_l2(golden_net: Any) -> None:
    """One seed here, ten there: within three standard deviations of the seeds."""
    seeds = of_net(golden_net, "square_l2", "robust").mean(axis=1)
    found = robust(golden_net, Square(0.8, queries=301, norm="l2")).mean()
    assert abs(found - seeds.mean()) <= 3 * seeds.std(ddof=1)


def test_targeted_pgd(golden_net: Any) -> None:
    wanted = of_net(golden_net, "targeted", "pgd")
    x, aim = golden_net.x[: len(wanted)], (golden_net.y[: len(wanted)] + 1) % 10
    attack = PGD(0.1, step_size=0.025, steps=10, start="clean")
    found = attack(golden_net.model, x, aim, targeted=True)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_targeted_apgd_with_one_radius_per_image(golden_net: Any) -> None:
    wanted = of_net(golden_net, "targeted", "apgd")
    x, aim = golden_net.x[:IMAGES], (golden_net.y[:IMAGES] + 1) % 10
    radii = np.linspace(0.02, 0.3, IMAGES)
    attack = APGD(0.1)
    found = attack.run(golden_net.model, x, aim, targeted=True, epsilons=radii)
    moved = np.abs(found.x_adv - x).reshape(IMAGES, -1).max(axis=1)
    assert (moved <= radii + 1e-6).all()
    assert abs(found.success.mean() - wanted.mean()) <= CLOSE
    assert np.mean(found.success != wanted) <= 3 * CLOSE


def test_projections_onto_an_l1_ball_and_the_box() -> None:
    found = reference("apgd_l1")
    x, change = (
        ops.convert_to_tensor(found[f"projection/{k}"]) for k in ("x", "change")
    )
    projected = ops.convert_to_numpy(ascent_l1.project(change, x, 1.5))
    np.testing.assert_allclose(projected, found["projection/projected"], atol=1e-5)


SPARSE = {
    "dlr": APGD(1.0, norm="l1", steps=20, loss="dlr", early_stop=False),
    "targeted": APGD(1.0, norm="l1", steps=20, loss="dlr", targets=1, early_stop=False),
    "larger": APGD(
        1.0, norm="l1", steps=20, loss="dlr", larger_radii=True, early_stop=False
    ),
}


@pytest.mark.parametrize("name", SPARSE)
def test_apgd_in_l1_from_the_same_noise(golden_net: Any, name: str) -> None:
    """The best points of one run."""
    wanted = of_net(golden_net, "apgd_l1", name)
    noise = of_net(golden_net, "apgd_l1", "noise")
    x, y = golden_net.x[: len(wanted)], golden_net.y[: len(wanted)].astype("int32")
    aim = ops.convert_to_numpy(golden_net.model(x)).argsort(1)[:, -2].astype("int32")
    state, _ = SPARSE[name].ascend(
        Classifier.of(golden_net.model),
        *map(ops.convert_to_tensor, (noise, x, y, aim)),
        np.ones(len(x), bool),
    )
    difference = np.abs(ops.convert_to_numpy(state.best) - wanted)
    # Rounding decides a step of a few images.
    far = difference.reshape(len(x), -1).max(axis=1) > 1e-5
    assert far.sum() <= 2


@pytest.mark.slow
@pytest.mark.parametrize("make", [apgd_ce, apgd_t], ids=["apgd-ce", "apgd-t"])
def test_apgd_in_l1(golden_net: Any, make: Any) -> None:
    wanted = of_net(golden_net, "apgd_l1", make.__name__.replace("_", "-"))
    found = robust(golden_net, make(epsilon=1.0, norm="l1"), order=1)
    assert abs(found.mean() - wanted.mean()) <= CLOSE


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_hop_skip_jump_with_the_same_random_numbers(
    golden_net: Any, norm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The points after six steps of the authors' code."""
    wanted = of_net(golden_net, "hop_skip_jump", norm)
    tries = of_net(golden_net, "hop_skip_jump", f"{norm}/starts")
    rows = of_net(golden_net, "hop_skip_jump", "rows")
    x, y = golden_net.x[rows], golden_net.y[rows].astype("int32")
    samples = [int(20 * step**0.5) for step in range(1, 7)]
    streams = [np.random.RandomState(row) for row in rows]
    starts = [
        [stream.uniform(0, 1, x.shape[1:]) for _ in range(count)]
        for stream, count in zip(streams, tries, strict=True)
    ]
    shape = (sum(samples), *x.shape[1:])
    noise = np.stack(
        [
            each.randn(*shape) if norm == "l2" else each.uniform(-1, 1, shape)
            for each in streams
        ]
    )
    noise /= np.sqrt((noise**2).sum(axis=(2, 3, 4), keepdims=True))
    table = noise.reshape(-1, *x.shape[1:]).astype("float32")

    def directions(u: Any, keys: Any, number: Any, norm: str) -> Any:
        number = ops.minimum(number, shape[0] - 1)
        return ops.take(table, keys[:, :1] * shape[0] + number, axis=0)

    def started(
        classifier: Any, batch: AttackBatch, attempt: int, restart: int
    ) -> np.ndarray:
        chosen = [starts[index] for index in batch.noise.indices]
        return np.stack([each[min(attempt, len(each) - 1)] for each in chosen]).astype(
            "float32"
        )

    monkeypatch.setattr(hop_skip_jump, "directions", directions)
    monkeypatch.setattr(hop_skip_jump, "_random", started)
    attack = HopSkipJump(np.inf, samples=20, norm=norm)
    classifier = Classifier(golden_net.model)
    images, labels = map(ops.convert_to_tensor, (x, y))
    numbers, active = np.arange(len(x)), np.ones(len(x), bool)
    batch = AttackBatch(images, labels, Noise(0, numbers), active)
    walk, found = attack.start(classifier, batch, active)
    assert found.all()
    keys, drawn = np.stack([numbers, numbers], 1).astype("int32"), 0
    for step, count in enumerate(samples, start=1):
        walk = attack.step(classifier, batch, walk, keys, step, drawn)
        drawn += count
    difference = np.abs(ops.convert_to_numpy(walk.u) - wanted).reshape(len(x), -1)
    # The authors' code runs in float64: rounding decides a bisection of a few images.
    assert np.mean(difference.max(axis=1) > 1e-5) <= 0.1


MINIMAL = {
    "deepfool_l2": DeepFool(steps=20, norm="l2"),
    "deepfool_linf": DeepFool(steps=20),
    "fmn_l2": FMN(steps=30, norm="l2"),
    "fmn_linf": FMN(steps=30),
    "fmn_targeted": FMN(steps=30, norm="l2"),
    "ddn": DDN(steps=30),
    "ddn_smooth": DDN(steps=30, levels=0, radius=0.5),
    "ddn_targeted": DDN(steps=30),
}


@pytest.mark.parametrize("name", MINIMAL)
def test_minimal_norm(golden_net: Any, name: str) -> None:
    # Without XLA's optimizations, as in these tests, the loop of DeepFool is slow.
    few = slice(8) if name.startswith("deepfool") else slice(None)
    wanted = of_net(golden_net, "minimal_norm", name)[few]
    x, y = golden_net.x[: len(wanted)], golden_net.y[: len(wanted)]
    targeted = name.endswith("_targeted")
    y = (y + 1) % 10 if targeted else y
    found = MINIMAL[name](golden_net.model, x, y, targeted=targeted)
    difference = np.abs(found - wanted).reshape(len(x), -1).max(axis=1)
    # The other package computes in float64: rounding may decide a step of an image, and
    # DDN rounds to 256 levels.
    assert np.mean(difference > 1e-5) <= 0.02 and difference.max() <= 1 / 255 + 1e-6


@pytest.mark.parametrize("name", ["plain", "targeted"])
def test_cw_l2(golden_net: Any, name: str) -> None:
    wanted = of_net(golden_net, "cw_l2", name)
    x, y = golden_net.x[: len(wanted)], golden_net.y[: len(wanted)]
    targeted = name == "targeted"
    attack = CWL2(steps=30, searches=5, weight=0.01, learning_rate=0.05)
    y = (y + 1) % 10 if targeted else y
    found = attack(golden_net.model, x, y, targeted=targeted)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


COLOR, GREY = (1.0, 0.8, 0.6), (0.4, 0.5, 1 / 3)
"""As in the script: what makes three channels of grey images, and grey images again."""

BUDGET = {"step_size": 0.02, "steps": 8}
MOMENTUM = {
    "mi": MomentumFGSM(0.1, **BUDGET, decay=0.9),
    "ni": MomentumFGSM(0.1, **BUDGET, decay=0.9, nesterov=True),
    "ti": MomentumFGSM(0.1, **BUDGET, decay=0.0, kernel=5),
    "ti_15": MomentumFGSM(0.1, **BUDGET, kernel=15),
    "di": MomentumFGSM(0.1, **BUDGET, decay=0.0, diversity=0.5, resize=0.5),
}


@pytest.mark.parametrize("name", MOMENTUM)
def test_fgsm_with_momentum(
    golden_net: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = of_net(golden_net, "momentum", name)
    draws = of_net(golden_net, "momentum", "draws").astype("int32")

    def drawn(x: Any, keys: Any, step: Any, *settings: Any) -> momentum.Resizing:
        """Return the choices of the other package, the same for each image."""
        side, top, left, used = (ops.take(column, step) for column in draws.T)
        return momentum.Resizing(used == 1, side, side, top, left)

    monkeypatch.setattr(momentum, "drawn", drawn)
    mixed = layers.Conv2D(1, 1, use_bias=False, data_format="channels_last")
    net = keras.Sequential([layers.Input(wanted.shape[1:]), mixed, golden_net.model])
    mixed.set_weights([np.reshape(GREY, (1, 1, 3, 1))])
    x = golden_net.x[: len(wanted)] * np.array(COLOR, "float32")
    found = MOMENTUM[name](net, x, golden_net.y[: len(wanted)])
    np.testing.assert_allclose(found, wanted, atol=1e-5)


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
