"""DeepFool, FMN, DDN and CW-L2, on a linear network whose boundary is known."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from kmtard.attacks import CWL2, DDN, FMN, Attack, DeepFool, minimal_norm
from kmtard.attacks.base import AttackBatch
from kmtard.attacks.classifier import Classifier
from kmtard.attacks.minimal_norm import Nearest
from kmtard.attacks.noise import Noise
from kmtard.evaluation import evaluate

pytestmark = pytest.mark.quick("torch")

SHAPE = (4, 3, 1)
CLASSES = 3
ATTACKS = {
    "deepfool_l2": (DeepFool(norm="l2"), 2),
    "deepfool_linf": (DeepFool(), np.inf),
    "fmn_l2": (FMN(norm="l2"), 2),
    "fmn_linf": (FMN(), np.inf),
    "ddn": (DDN(levels=0), 2),
    "cw_l2": (CWL2(steps=150, searches=5, weight=0.3, learning_rate=0.02), 2),
}


@pytest.fixture(scope="module")
def model() -> keras.Model:
    made = keras.Sequential(
        [layers.Input(SHAPE), layers.Flatten(), layers.Dense(CLASSES)]
    )
    random = np.random.default_rng(0)
    made.set_weights([random.normal(0, 1, w.shape) for w in made.get_weights()])
    return made


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    # Far from the borders of [0, 1], which the formula of the distance ignores.
    return (0.45 + 0.1 * np.random.default_rng(1).random((16, *SHAPE))).astype(
        "float32"
    )


@pytest.fixture(scope="module")
def y(model: keras.Model, x: np.ndarray) -> np.ndarray:
    return logits(model, x).argmax(-1)


def logits(model: keras.Model, x: np.ndarray) -> np.ndarray:
    return ops.convert_to_numpy(model(x))


def distances(x: np.ndarray, x_adv: np.ndarray, order: float) -> np.ndarray:
    return np.linalg.norm((x_adv - x).reshape(len(x), -1), order, axis=1)


def smallest(model: keras.Model, x: np.ndarray, order: float) -> np.ndarray:
    """Return the distance to the nearest boundary of a linear network."""
    kernel, _ = model.get_weights()
    z = logits(model, x)
    y = z.argmax(-1)
    dual = {2: 2, np.inf: 1}[order]
    gaps = np.take_along_axis(z, y[:, None], 1) - z
    slopes = np.linalg.norm(kernel.T[None] - kernel.T[y][:, None], dual, axis=2)
    ways = np.where(np.arange(CLASSES) == y[:, None], np.inf, gaps / (slopes + 1e-9))
    return ways.min(axis=1)


@pytest.mark.parametrize("name", ATTACKS)
def test_distance_to_a_linear_boundary(
    name: str, model: keras.Model, x: np.ndarray, y: np.ndarray
) -> None:
    attack, order = ATTACKS[name]
    result = attack.run(model, x, y)
    # Where FMN estimates the way to a linear boundary, it ends on the boundary itself,
    # and rounding decides on which side.
    done = result.success
    assert done.mean() >= (0.8 if name.startswith("fmn") else 1)
    wanted = smallest(model, x, order)[done]
    assert wanted.max() < 0.45
    found = distances(x, result.x_adv, order)[done]
    assert (found >= wanted - 1e-5).all()
    # DDN changes the radius by at least 5 %.
    np.testing.assert_allclose(found, wanted, rtol=0.1 if name == "ddn" else 0.06)


@pytest.mark.parametrize("name", ATTACKS)
def test_radius_decides_which_are_returned(
    name: str, model: keras.Model, x: np.ndarray, y: np.ndarray
) -> None:
    attack, order = ATTACKS[name]
    every = attack.run(model, x, y)
    found = distances(x, every.x_adv, order)
    radius = float(np.median(found))
    within = every.success & (found <= radius)
    near = type(attack).from_config({**attack.get_config(), "epsilon": radius})
    result = near.run(model, x, y)
    np.testing.assert_array_equal(result.success, within)
    np.testing.assert_array_equal(result.x_adv[~within], x[~within])
    np.testing.assert_array_equal(result.x_adv[within], every.x_adv[within])


def test_an_image_on_the_boundary_is_moved_beyond_it() -> None:
    net = keras.Sequential([layers.Input((1,)), layers.Dense(2)])
    net.set_weights([np.array([[-1.0, 1.0]]), np.array([0.5, -0.5])])
    x = ops.convert_to_tensor([[0.25], [0.25]])
    y = ops.convert_to_tensor([0, 0], "int32")
    batch = AttackBatch(x, y, Noise(0, np.arange(2)), np.ones(2, bool))
    image = ops.convert_to_tensor([[0.49999], [0.75]])
    nearest = Nearest(image, ops.convert_to_tensor([0.24999, 0.5]))
    found = minimal_norm._confirmed(Classifier.of(net), batch, nearest)
    moved = ops.convert_to_numpy(found.image)[:, 0]
    assert 0.5 < moved[0] < 0.5001 and moved[1] == 0.75
    distance = ops.convert_to_numpy(found.distance)
    np.testing.assert_allclose(distance, moved - 0.25, atol=1e-6)


@pytest.mark.parametrize(
    "attack",
    [
        DDN(0.3, steps=60),
        FMN(0.28, steps=60, norm="l2"),
        CWL2(0.27, steps=100, searches=4, weight=0.3, learning_rate=0.02),
    ],
)
def test_early_stop_fools_the_same_images_with_fewer_steps(
    attack: Attack, model: keras.Model, x: np.ndarray, y: np.ndarray
) -> None:
    early = type(attack).from_config({**attack.get_config(), "early_stop": True})
    whole, stopped = (each.run(model, x, y) for each in (attack, early))
    assert (whole.success == stopped.success).mean() >= 0.9
    assert 0 < whole.success.sum() < len(x)
    assert (whole.backwards == whole.backwards.max()).all()
    steps = stopped.backwards / whole.backwards.max()
    assert steps[stopped.success].mean() < 0.8 and steps.max() <= 1


def test_ddn_rounds_to_levels(model: keras.Model, x: np.ndarray, y: np.ndarray) -> None:
    x = np.round(x * 10).astype("float32") / 10
    x_adv = DDN(steps=30, levels=11)(model, x, y)
    np.testing.assert_allclose(x_adv * 10, np.round(x_adv * 10), atol=1e-5)
    assert (x_adv != x).any()


def test_flat_network_is_not_fooled(x: np.ndarray, y: np.ndarray) -> None:
    net = keras.Sequential(
        [
            layers.Input(SHAPE),
            layers.Flatten(),
            layers.Dense(3, bias_initializer="ones"),
        ]
    )
    net.set_weights([np.zeros((12, 3)), np.array([1, 0, 0])])
    for attack, _ in ATTACKS.values():
        result = attack.run(net, x, np.zeros(len(x), int))
        assert not result.success.any()
        np.testing.assert_array_equal(result.x_adv, x)


def test_evaluation_reports_the_median_distance(
    model: keras.Model, x: np.ndarray, y: np.ndarray, tmp_path: Any
) -> None:
    attacks = {"ddn": DDN(levels=0, steps=60)}
    found = evaluate(model, (x, y), attacks=attacks, folder=tmp_path)
    median = found.student.attacks["ddn"].distance.median_l2
    assert median == pytest.approx(np.median(smallest(model, x, 2)), rel=0.1)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: DDN(gamma=1.0), "gamma.*1.0"),
        (lambda: DDN(norm="linf"), 'norm.*"l2".*linf'),  # type: ignore[arg-type]
        (lambda: DDN(radius=0), "radius.*0"),
        (lambda: FMN(norm="l1"), "norm.*'l1'"),
        (lambda: DeepFool(overshoot=2), "overshoot.*2"),
    ],
)
def test_bad_arguments(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
