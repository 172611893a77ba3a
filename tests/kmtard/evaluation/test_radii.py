"""`curve`: several radii, no work twice, one compilation, honest records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from kmtard.attacks import PGD
from kmtard.attacks.apgd import APGD
from kmtard.attacks.base import Attack
from kmtard.attacks.classifier import Classifier
from kmtard.attacks.gradient_estimation import GradientEstimation
from kmtard.attacks.rays import RayS
from kmtard.attacks.square import Square
from kmtard.evaluation import Evaluation, curve, evaluate
from kmtard.evaluation.network_evaluator import Step
from kmtard.runs.results import read_all

pytestmark = pytest.mark.once("torch")

IMAGES = 24
RADII = (0.1, 0.0, 0.3, 0.02)

Data = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def data() -> Data:
    """Images whose first pixel decides the class, at many distances from 0.5."""
    generator = np.random.default_rng(0)
    x = generator.random((IMAGES, 4, 4, 1), "float32")
    x[:, 0, 0, 0] = np.linspace(0.01, 0.99, IMAGES)
    y = (x[:, 0, 0, 0] > 0.5).astype("int32")
    y[[3, 11]] ^= 1
    return x, y


@pytest.fixture(scope="module")
def model() -> keras.Model:
    image = keras.Input((4, 4, 1))
    model = keras.Sequential([image, layers.Flatten(), layers.Dense(2)])
    kernel = np.zeros((16, 2), "float32")
    kernel[0] = [-4, 4]
    model.set_weights([kernel, np.array([2, -2], "float32")])
    return model


@pytest.mark.every_backend
def test_accuracy_follows_the_distances(model: keras.Model, data: Data) -> None:
    found = curve(model, data, RADII, attacks=["pgd_sat", "apgd_ce"])
    assert [each.conditions["epsilon"] for each in found] == [0.02, 0.1, 0.3]
    x, _ = data
    gap = np.abs(x[:, 0, 0, 0] - 0.5)
    right = np.ones(IMAGES, bool)
    right[[3, 11]] = False
    for each in found:
        robust = right & (gap > each.conditions["epsilon"])
        for column in each.attacks.values():
            np.testing.assert_array_equal(column.robust, robust)
    column = found[-1].attacks["apgd_ce"]
    assert column.spread is not None
    spread = column.spread["linf"]
    assert (spread[~right] == 0).all()
    assert np.isinf(spread[column.robust]).all()
    fooled = right & ~column.robust
    assert (spread[fooled] >= gap[fooled] - 1e-6).all()
    assert (spread[fooled & (gap < 0.02)] <= 0.02 + 1e-6).all(), "the smallest radius"
    assert column.distance and column.distance.median_linf == np.median(spread)
    first = found[0].attacks["apgd_ce"].distance
    assert first and first.median_linf is None, "most images are robust there"


def test_no_image_is_attacked_again(
    model: keras.Model, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    attacked: dict[float, int] = {}
    run = Attack.run

    def counting(self: Attack, classifier: Any, x: Any, *rest: Any, **more: Any) -> Any:
        # The diagnostics run attacks, too, but without the numbers of the images.
        if "indices" in more:
            attacked[self.epsilon] = attacked.get(self.epsilon, 0) + len(x)
        return run(self, classifier, x, *rest, **more)

    monkeypatch.setattr(Attack, "run", counting)
    found = curve(model, data, RADII, attacks="fgsm")
    left = [each.attacks["fgsm"].correct for each in found]
    assert attacked == {0.02: found[0].clean.correct, 0.1: left[0], 0.3: left[1]}


@pytest.mark.parametrize(
    ("attack", "other"),
    [
        (PGD(0.1, step_size=0.02, steps=2), PGD(0.2, step_size=0.04, steps=2)),
        (APGD(0.1, steps=3), APGD(0.2, steps=3)),
        (APGD(0.1, steps=3, norm="l2"), APGD(0.2, steps=3, norm="l2")),
        (Square(0.1, queries=4), Square(0.2, queries=4)),
        (RayS(0.1, queries=4), RayS(0.2, queries=4)),
        (
            GradientEstimation(0.1, step_size=0.01, samples=4, steps=2),
            GradientEstimation(0.2, step_size=0.02, samples=4, steps=2),
        ),
    ],
    ids=lambda attack: type(attack).__name__,
)
def test_one_compilation_serves_every_radius(
    model: keras.Model, data: Data, attack: Attack, other: Attack
) -> None:
    x, y = data
    classifier = Classifier.of(model, x[:1])
    attack.run(classifier, x, y)
    compiled = set(classifier._functions)
    again = other.run(classifier, x, y)
    assert set(classifier._functions) == compiled
    # What was compiled for one radius gives the other's own result.
    fresh = other.run(model, x, y)
    np.testing.assert_array_equal(again.x_adv, fresh.x_adv)
    np.testing.assert_array_equal(again.queries, fresh.queries)


def test_records_say_what_they_depend_on(
    model: keras.Model, data: Data, tmp_path: Path
) -> None:
    alone = evaluate(model, data, attacks="fgsm", epsilon=0.02, folder=tmp_path / "one")
    found = curve(model, data, RADII, attacks="fgsm", folder=tmp_path / "many")
    assert found[0].conditions == alone.conditions
    assert "smaller_epsilons" not in found[0].conditions
    assert found[1].conditions["smaller_epsilons"] == [0.02]
    assert found[2].conditions["smaller_epsilons"] == [0.02, 0.1]
    assert Evaluation.load(tmp_path / "many").conditions == alone.conditions
    records, problems = read_all(tmp_path / "many")
    assert not problems
    radii = sorted(each.conditions["epsilon"] for each in records if each.conditions)
    assert radii == [0.02, 0.1, 0.3]


def test_it_continues_where_it_was_stopped(
    model: keras.Model, data: Data, tmp_path: Path
) -> None:
    class Stop(Exception):
        pass

    def stopping(epsilon: float, step: Step) -> None:
        if epsilon == 0.3 and step.attack == "fgsm" and step.done:
            raise Stop

    seen: list[str] = []
    options: dict[str, Any] = {"attacks": "fgsm", "folder": tmp_path / "run"}
    whole = curve(model, data, RADII, attacks="fgsm")
    with pytest.raises(Stop):
        curve(model, data, RADII, watch=stopping, **options)
    noting = lambda epsilon, step: seen.append(step.note)  # noqa: E731
    again = curve(model, data, RADII, watch=noting, **options)
    assert any(note.startswith("continues in") for note in seen)
    for one, other in zip(whole, again, strict=True):
        first, second = one.attacks["fgsm"], other.attacks["fgsm"]
        np.testing.assert_array_equal(first.robust, second.robust)
        assert first.distance == second.distance


@pytest.mark.parametrize(
    ("epsilons", "more", "message"),
    [
        ([], {}, "at least one of them > 0"),
        ([0], {}, "at least one of them > 0"),
        ([0.1, 8], {}, r"in \[0, 1\]"),
        ([-0.1, 0.1], {}, r"in \[0, 1\]"),
        ([0.1], {"save_images": True}, "`save_images` needs one radius"),
    ],
)
def test_bad_arguments(
    model: keras.Model,
    data: Data,
    epsilons: list[float],
    more: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(ValueError, match=message):
        curve(model, data, epsilons, **more)


def test_attack_objects_have_one_radius(model: keras.Model, data: Data) -> None:
    attacks: Any = [PGD(0.1)]
    with pytest.raises(TypeError, match=r"names of registered attacks.*PGD"):
        curve(model, data, [0.1], attacks=attacks)
