"""Accuracies: every image counts once, robust ones are clean ones as well."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest

from kmtard.attacks import PGD
from kmtard.evaluation.accuracy import accuracies

# Class 1 where the only pixel is above 0.5: margins .5 .3 .1 .1 .3, the last wrong.
IMAGES = np.array([0, 51, 102, 153, 204], "uint8").reshape(-1, 1, 1, 1)
LABELS = np.array([0, 0, 0, 1, 0])


@pytest.fixture
def model() -> Any:
    layers = [keras.layers.Input((1, 1, 1)), keras.layers.Flatten()]
    model = keras.Sequential([*layers, keras.layers.Dense(2)])
    model.layers[-1].set_weights([np.array([[0.0, 4.0]]), np.array([0.0, -2.0])])
    return model


class Fixed:
    """An attack with the success that it is told."""

    def __init__(self, success: Callable[[int], bool]) -> None:
        self.success = success
        self.seen: list[dict[str, Any]] = []

    def run(self, model: Any, x: Any, y: Any, *, indices: Any, **kwargs: Any) -> Any:
        pixels = np.rint(x.ravel() * 255).astype(int).tolist()
        self.seen.append({"pixels": pixels, "indices": indices.tolist(), **kwargs})
        return SimpleNamespace(success=np.array([self.success(p) for p in pixels]))


def test_attack_lowers_the_accuracy_by_what_is_near_the_border(model: Any) -> None:
    attacks = {
        "weak": PGD(epsilon=0.05, step_size=0.05, steps=1, start="clean"),
        "strong": PGD(epsilon=0.2, step_size=0.2, steps=1, start="clean"),
        "full": PGD(epsilon=1.0, step_size=1.0, steps=1, start="clean"),
    }
    scores = accuracies(model, IMAGES, LABELS, attacks, batch_size=2)
    assert scores == pytest.approx(
        {"clean": 0.8, "weak": 0.8, "strong": 0.4, "full": 0.0}
    )


def test_image_that_an_attack_puts_right_is_not_robust(model: Any) -> None:
    harmless = Fixed(lambda pixel: False)
    scores = accuracies(model, IMAGES, LABELS, {"none": harmless}, batch_size=5)
    assert scores["none"] == scores["clean"] == pytest.approx(0.8)


def test_batches_keep_the_numbers_of_their_images(model: Any) -> None:
    only_first = Fixed(lambda pixel: pixel == 0)
    scores = accuracies(model, IMAGES, LABELS, {"a": only_first}, batch_size=3, seed=7)
    settings = {"seed": 7, "batch_size": 3}
    assert only_first.seen == [
        {"pixels": [0, 51, 102], "indices": [0, 1, 2], **settings},
        {"pixels": [153, 204], "indices": [3, 4], **settings},
    ]
    assert scores["a"] == pytest.approx(0.6)


def test_batch_larger_than_the_images(model: Any) -> None:
    scores = accuracies(model, IMAGES, LABELS, {}, batch_size=12)
    assert scores == {"clean": pytest.approx(0.8)}


def test_what_comes_between_may_end_it(model: Any) -> None:
    calls: list[None] = []

    def between() -> None:
        calls.append(None)
        if len(calls) == 4:
            raise InterruptedError

    attack = Fixed(lambda pixel: False)
    with pytest.raises(InterruptedError):
        accuracies(model, IMAGES, LABELS, {"a": attack}, batch_size=2, between=between)
    assert len(attack.seen) == 1


def test_random_starts_do_not_depend_on_the_batches(model: Any) -> None:
    attacks = {"start": PGD(epsilon=0.4, steps=0, start="uniform_clipped")}
    by_size = [
        accuracies(model, IMAGES, LABELS, attacks, batch_size=size, seed=1)
        for size in (1, 2, 5)
    ]
    assert by_size[0] == by_size[1] == by_size[2]
