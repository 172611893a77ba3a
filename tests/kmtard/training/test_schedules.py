"""The epochs after which a training evaluates."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmtard.recipe import load
from kmtard.recipe.identity import settings_key, teacher_key
from kmtard.training.schedules import EvaluationEpochs

pytestmark = pytest.mark.once("torch")

CIFAR10 = Path(__file__).parents[3] / "recipes" / "cifar10.toml"


def epochs(*settings: str) -> list[int]:
    recipe = load(CIFAR10, overrides=[f"schedule.{each}" for each in settings])
    return list(EvaluationEpochs(recipe.training("student"), lambda: False))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (["epochs=6", "milestones=[4]", "evaluate_every=2"], [1, 2, 4, 5, 6]),
        (["epochs=6", "milestones=[]", "evaluate_every=4"], [1, 4, 6]),
        (["epochs=3", "milestones=[]", "evaluate_every=9"], [1, 3]),
        (
            ["epochs=9", "milestones=[4,6]", "evaluate_every_late=3"],
            [1, 4, 7, 9],
        ),
        (["epochs=2", "milestones=[1]", "evaluate_every_late=5"], [1, 2]),
    ],
)
def test_epochs_that_are_evaluated(settings: list[str], expected: list[int]) -> None:
    assert epochs(*settings) == expected


def test_the_authors_evaluate_each_late_epoch() -> None:
    assert len(epochs()) == 97 and epochs()[-86:] == list(range(215, 301))


def test_equal_schedules_have_equal_hashes() -> None:
    """Writing out the default does not change the hash."""
    plain = load(CIFAR10)
    same = load(CIFAR10, overrides=["schedule.evaluate_every_late=1"])
    other = load(CIFAR10, overrides=["schedule.evaluate_every_late=10"])
    assert settings_key(plain) == settings_key(same) != settings_key(other)
    keys = [teacher_key(each, "adv_teacher") for each in (plain, same)]
    assert keys[0] == keys[1]


def test_a_late_milestone_may_be_the_last_epoch() -> None:
    assert epochs("epochs=4", "milestones=[4]", "evaluate_every=3") == [1, 3, 4]
