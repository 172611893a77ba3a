"""Short trainings that choose the strength of the long one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kmtard.data.image_folder import image_folder
from kmtard.hardening import tries
from kmtard.hardening.plan import Request, recipe_of
from kmtard.hardening.tries import Strength, choose

pytestmark = pytest.mark.once("torch")


def test_a_strength_that_destroys_the_model_is_not_chosen(
    model_file: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model is right by construction; a huge step makes all outputs equal."""
    request = Request(
        model=str(model_file), data="image_folder", directory=str(photos), epsilon=0.02
    )
    data = image_folder(str(photos))
    recipe = recipe_of(request, data, mirrors=False)
    mild, wild = Strength(1e-4, 1.0), Strength(1e3, 1.0)
    monkeypatch.setattr(tries, "CANDIDATES", (wild, mild))
    told: list[str] = []
    assert choose(recipe, data, 4, told.append) == mild
    assert len(told) == 2 and "learning rate 1000" in told[0]


def test_adversarial_training_on_labels_is_tried_too(
    model_file: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any method that a try chooses is that of the recipe."""
    request = Request(
        model=str(model_file), data="image_folder", directory=str(photos), epsilon=0.02
    )
    data = image_folder(str(photos))
    labels = Strength(1e-4, None)
    monkeypatch.setattr(tries, "CANDIDATES", (labels,))
    told: list[str] = []
    recipe = recipe_of(request, data, mirrors=True)
    assert choose(recipe, data, 2, told.append) == labels
    assert "SAT, learning rate 0.0001" in told[0]
    chosen = recipe_of(replace(request, strength=labels), data, mirrors=True)
    assert chosen.training("adv_teacher").method == "sat"
    assert chosen.data.flip and chosen.student.options["momentum"] == 0.9


@pytest.mark.parametrize(
    ("overrides", "asked"),
    [((), True), (("optimizer.learning_rate=0.1",), False), (("data.pad=0",), True)],
)
def test_what_the_user_sets_is_not_tried(
    overrides: tuple[str, ...], asked: bool
) -> None:
    request = Request(model="m.keras", data="npz", directory="x", overrides=overrides)
    assert request.tries_strength == asked
    given = Request(model="m.keras", data="npz", directory="x", adv_teacher="r.keras")
    assert not given.tries_strength
