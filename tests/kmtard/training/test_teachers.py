"""Which teachers a run needs, and what it says of those it cannot read."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmtard.recipe import RecipeError, load
from kmtard.training.teachers import (
    check_weights,
    missing_weights,
    needed_teachers,
    trained_instead,
)

pytestmark = pytest.mark.once("torch")

WEIGHTS = (
    "adv_teacher={network='small_cnn', weights='none.pt', source='https://example.org'}"
)


@pytest.mark.parametrize(
    ("method", "attacks", "needed"),
    [
        ("b_mtard", "['fgsm']", ["nat_teacher", "adv_teacher"]),
        ("rslad", "['fgsm']", ["adv_teacher"]),
        ("natural", "['fgsm']", []),
        ("natural", "['transfer_cw_inf']", ["adv_teacher"]),
    ],
)
def test_method_and_attacks_need_teachers(
    recipe: Path, method: str, attacks: str, needed: list[str]
) -> None:
    overrides = [f"evaluation.attacks={attacks}"]
    assert needed_teachers(load(recipe, method=method, overrides=overrides)) == needed


def test_a_suite_needs_the_teacher_it_transfers_from(recipe: Path) -> None:
    overrides = ["evaluation.suite=paper"]
    whole = load(recipe, method="natural", overrides=overrides)
    assert needed_teachers(whole) == ["adv_teacher"]
    alone = whole.model_copy(update={"adv_teacher": None})
    assert needed_teachers(alone) == []


def test_missing_weights_are_told_with_what_to_do(recipe: Path) -> None:
    whole = load(recipe, overrides=[WEIGHTS])
    with pytest.raises(RecipeError) as caught:
        check_weights(whole, "a.toml")
    assert str(caught.value) == (
        'a.toml: adv_teacher.weights = "none.pt": expected this file with the weights '
        "of small_cnn, there is none; get it from https://example.org, or write "
        "train = true in its place"
    )
    check_weights(load(recipe, method="natural", overrides=[WEIGHTS]), "a.toml")


def test_weights_that_are_there_are_not_missing(recipe: Path, tmp_path: Path) -> None:
    file = tmp_path / "some.pt"
    file.touch()
    there = WEIGHTS.replace("none.pt", str(file))
    assert missing_weights(load(recipe, overrides=[there])) == []


def test_a_missing_teacher_is_trained_if_it_is_said_how(recipe: Path) -> None:
    whole = load(recipe, overrides=[WEIGHTS])
    assert trained_instead(whole) == whole
    how = WEIGHTS.replace("{", "{method={name='trades'}, ")
    trained = trained_instead(load(recipe, overrides=[how]))
    assert (trained.adv_teacher.weights, trained.adv_teacher.train) == (None, True)
    assert missing_weights(trained) == []
    assert trained.training("adv_teacher").method == "trades"
