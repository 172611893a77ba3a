"""Defenses that only look robust are flagged, and an honest model is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from kmtard.data.digits import digits
from kmtard.evaluation import Evaluation, evaluate
from kmtard.runs.verdict import verdict
from tests.kmtard.evaluation.diagnostics.nets import Apply

IMAGES, HIDDEN, WINNERS, EPSILON = 64, 96, 3, 0.1

Function = Callable[[Any, Any], Any]


def fitted(kept: int = HIDDEN) -> list[np.ndarray]:
    """Return weights of a network of one hidden layer, by least squares.

    Args:
        kept: number of hidden units that are not set to 0, the largest ones.
    """
    train = digits().train
    x = train.images.reshape(len(train), -1) / 255
    hidden = np.random.default_rng(0).normal(0, 0.3, (64, HIDDEN))
    units = np.maximum(x @ hidden, 0)
    units *= units >= np.sort(units, axis=1)[:, [-kept]]
    features = np.concatenate([units, np.ones((len(x), 1))], 1)
    square = features.T @ features + np.eye(HIDDEN + 1)
    last = np.linalg.solve(square, features.T @ (8 * np.eye(10)[train.labels]))
    return [hidden, np.zeros(HIDDEN), last[:-1], last[-1]]


@pytest.fixture(scope="module")
def weights() -> list[np.ndarray]:
    return fitted()


def net(
    weights: list[np.ndarray],
    *,
    first: Function | None = None,
    middle: Function | None = None,
    end: Function | None = None,
) -> keras.Model:
    """Return the network with functions before, within and behind it."""
    image = keras.Input((8, 8, 1))
    x = Apply(first)(image) if first else image
    x = layers.Dense(HIDDEN, activation="relu")(layers.Flatten()(x))
    x = Apply(middle)(x) if middle else x
    x = layers.Dense(10)(x)
    model = keras.Model(image, Apply(end)(x) if end else x)
    model.set_weights([*weights, *model.get_weights()[len(weights) :]])
    return model


def evaluated(model: keras.Model, *attacks: str) -> Evaluation:
    test = digits().test.limit(IMAGES)
    return evaluate(model, test, attacks=attacks, epsilon=EPSILON, batch_size=IMAGES)


def quantized(layer: Any, x: Any) -> Any:
    return ops.round(x * 4) / 4


def jpeg(layer: Any, x: Any) -> Any:
    """Quantize the coefficients of the cosine transform of each 8 x 8 image."""
    k, n = np.meshgrid(np.arange(8), np.arange(8), indexing="ij")
    cosine = np.cos(np.pi * k * (2 * n + 1) / 16) / 2
    cosine[0] /= np.sqrt(2)
    matrix = ops.convert_to_tensor(cosine.astype("float32"))
    there = ops.einsum("ij,bjkc,lk->bilc", matrix, x, matrix)
    return ops.einsum("ji,bjkc,kl->bilc", matrix, ops.round(there * 3) / 3, matrix)


def resized_at_random(layer: Any, x: Any) -> Any:
    """Stretch the images to the right by up to a third of a pixel."""
    share = keras.random.uniform((), 0, 0.3, seed=layer.seeds)
    return (1 - share) * x + share * ops.roll(x, 1, axis=2)


def dropped(layer: Any, x: Any) -> Any:
    return keras.random.dropout(x, 0.3, seed=layer.seeds)


def loud(layer: Any, x: Any) -> Any:
    return 1000 * x


def clipped(layer: Any, x: Any) -> Any:
    return ops.clip(ops.softmax(x), 0.05, 0.5)


def stopped(layer: Any, x: Any) -> Any:
    return ops.stop_gradient(x)


def winners(layer: Any, x: Any) -> Any:
    least = ops.min(ops.top_k(x, WINNERS)[0], axis=1, keepdims=True)
    return ops.where(x >= least, x, 0.0)


def detector(layer: Any, x: Any) -> Any:
    """Reject, as class 10, what no class claims clearly."""
    best = ops.top_k(x, 2)[0]
    doubtful = ops.relu(2.5 - (best[:, :1] - best[:, 1:]))
    return ops.concatenate([x, ops.max(x, axis=1, keepdims=True) + doubtful - 0.1], 1)


def test_an_honest_model_is_not_flagged(weights: list[np.ndarray]) -> None:
    found = evaluated(net(weights), "fgsm", "pgd_trades", "square_100")
    assert found.clean_accuracy > 0.85
    assert [each.name for each in found.findings] == []
    told = verdict(found.results.student)
    assert not told.may_be_quoted, "AutoAttack was not run"
    assert told.attacks == ("autoattack",)


@pytest.mark.parametrize(
    ("place", "cheat", "names", "attacks"),
    [
        ("first", quantized, {"zero-gradients"}, {"autoattack", "square"}),
        ("first", jpeg, {"zero-gradients"}, {"autoattack", "square"}),
        ("first", resized_at_random, {"randomised-defence"}, {"autoattack_rand"}),
        ("middle", dropped, {"randomised-defence"}, {"autoattack_rand"}),
        ("end", loud, {"zero-gradients"}, {"autoattack", "square"}),
        ("end", clipped, {"zero-gradients"}, {"autoattack", "square"}),
        ("middle", stopped, {"zero-gradients"}, {"autoattack", "square"}),
        (
            "middle",
            winners,
            {"more-steps-weaker", "one-step-stronger", "robust-at-large-epsilon",
             "loss-did-not-grow"},
            {"autoattack", "square"},
        ),
        ("end", detector, {"abstains"}, set()),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Attacks need logits")
def test_a_cheat_is_flagged_with_what_to_run(
    weights: list[np.ndarray],
    place: str,
    cheat: Function,
    names: set[str],
    attacks: set[str],
) -> None:
    weights = fitted(WINNERS) if cheat is winners else weights
    found = evaluated(net(weights, **{place: cheat}), "fgsm", "pgd_trades")
    assert names & {each.name for each in found.findings}
    told = verdict(found.results.student)
    assert not told.may_be_quoted
    assert told.reasons[0].name in names
    assert set(told.attacks) == attacks
    assert told.attacks or told.advice


@pytest.mark.parametrize("middle", [None, stopped], ids=["honest", "without gradients"])
def test_an_attack_without_gradients_settles_it(
    weights: list[np.ndarray], middle: Function | None
) -> None:
    model = net(weights, middle=middle)
    found = evaluated(model, "pgd_trades", "square_100")
    told = verdict(found.results.student)
    assert not [each for each in told.reasons if each.name == "zero-gradients"]
    assert found.robust_accuracy["square_100"] < 0.6
