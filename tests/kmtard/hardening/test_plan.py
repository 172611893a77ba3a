"""The recipe of a hardening and its epochs."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmtard.data.image_folder import image_folder
from kmtard.hardening.plan import (
    FEWEST_EPOCHS,
    MOST_EPOCHS,
    SLACK,
    Pace,
    Request,
    epochs_for,
    planned,
)
from kmtard.recipe import RecipeError, teacher_key

pytestmark = pytest.mark.once("torch")

PACE = Pace({"adv_teacher": 20, "student": 30}, {"adv_teacher": 4, "student": 5}, 60)


@pytest.mark.parametrize("seconds", [300, 600])
def test_the_epochs_fill_the_time(seconds: float) -> None:
    epochs = epochs_for(PACE, seconds)
    spent = 20 + 30 + 60 + sum(PACE.epoch[role] * n for role, n in epochs.items())
    assert SLACK * seconds - 9 <= spent <= SLACK * seconds


@pytest.mark.parametrize(("seconds", "count"), [(1, FEWEST_EPOCHS), (1e6, MOST_EPOCHS)])
def test_there_are_neither_too_few_nor_too_many(seconds: float, count: int) -> None:
    assert set(epochs_for(PACE, seconds).values()) == {count}


def test_the_recipe_names_the_model_in_all_roles(
    model_file: Path, photos: Path, tmp_path: Path
) -> None:
    request = Request(
        model=str(model_file),
        data="image_folder",
        directory=str(photos),
        data_options={"size": [8, 8]},
        epsilon=0.1,
        runs_dir=str(tmp_path / "runs"),
        overrides=("schedule.evaluate_every=2", "student.freeze=['conv2d']"),
    )
    data = image_folder(str(photos))
    epochs = {"adv_teacher": 10, "student": 20}
    recipe = planned(request, data, epochs, steps=7, mirrors=False)
    assert recipe.student.network == recipe.nat_teacher.weights == str(model_file)
    assert recipe.adv_teacher.train and recipe.adv_teacher.method.name == "trades"
    assert recipe.training("adv_teacher").schedule.milestones == (7, 9)
    assert (recipe.schedule.epochs, recipe.schedule.milestones) == (20, (14, 18))
    assert recipe.schedule.evaluate_every == 2
    assert recipe.training("adv_teacher").method_options["attack_warmup"] == 35
    assert recipe.training("student").method_options["attack_warmup"] == 70
    assert recipe.student.freeze == ("conv2d",)
    assert recipe.data.options == {"size": (8, 8)}
    key = teacher_key(recipe, "adv_teacher")
    model_file.write_bytes(model_file.read_bytes() + b"\0")
    assert teacher_key(recipe, "adv_teacher") != key
    with pytest.raises(RecipeError, match="epochz"):
        wrong = Request(**{**vars(request), "overrides": ("schedule.epochz=1",)})
        planned(wrong, data, epochs, steps=7, mirrors=False)


def test_a_given_robust_teacher_is_not_trained(model_file: Path, photos: Path) -> None:
    request = Request(
        model=str(model_file),
        data="image_folder",
        directory=str(photos),
        adv_teacher=str(model_file),
    )
    recipe = planned(
        request, image_folder(str(photos)), {"student": 5}, steps=7, mirrors=False
    )
    assert recipe.adv_teacher.weights == str(model_file)
    assert not recipe.adv_teacher.train
