"""What a study dialog offers, and what its choices become."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kmtard.recipe.schema import Study
from launcher.recipes.draft import Checked, Draft, check
from launcher.recipes.recipe_files import Shelf
from launcher.recipes.sweep import OWN, Plan, Sweep, read_plan
from tests.launcher.form_fixtures import DIGITS, checked

pytestmark = pytest.mark.once("torch")

STUDY = """
[study]
methods = ["b_mtard", "trades"]
seeds = [0, 12]
axes = { attack.steps = [1, 2] }
exclude = [{ method = "trades", attack.steps = 2 }]
"""


def sweep_of(folder: Path, more: str = "", draft: Draft | None = None) -> Sweep:
    path = folder / "a.toml"
    path.write_text(DIGITS.read_text() + more)
    [file] = [each for each in Shelf([], folder).scan() if each.path == path]
    found: Checked = check(file, draft or Draft(), Path("runs"))
    assert found.recipe is not None, found.mistakes
    return Sweep.of(found, found.recipe, "a.toml")


def methods_of(folder: Path) -> tuple[str, ...]:
    [file] = [each for each in Shelf([], folder).scan() if each.path.name == "a.toml"]
    return file.methods


def test_a_recipe_without_a_study_offers_its_method_and_its_seed(
    tmp_path: Path,
) -> None:
    sweep = sweep_of(tmp_path)
    assert sweep.own_methods(methods_of(tmp_path)) == ("b_mtard",)
    assert sweep.own_seeds == (0,)
    assert sweep.offered_seeds == tuple(range(10))
    assert sweep.methods[: len(methods_of(tmp_path))] == methods_of(tmp_path)
    assert "natural" in sweep.methods and "all" not in sweep.methods
    assert sweep.chosen().command()[3:] == ["a.toml"]
    assert sweep.about() == ""


def test_the_study_of_the_recipe_is_ticked(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, STUDY)
    assert sweep.own_methods(()) == ("b_mtard", "trades")
    assert sweep.own_seeds == (0, 12)
    assert sweep.offered_seeds == (*range(10), 12)
    assert sweep.about() == "attack.steps: 1, 2 · 1 excluded"


def test_changes_in_the_form_go_into_every_cell(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(DIGITS.read_text())
    edited = checked(path, {"student.network": "resnet18"}, method="trades", smoke=True)
    sweep = sweep_of(tmp_path, draft=edited.draft)
    assert sweep.ticked == ("trades",)
    words = sweep.chosen().command()
    assert words[3:6] == ["a.toml", "--methods", "trades"]
    assert words[-3:] == ["--set", "student.network=resnet18", "--smoke"]


@pytest.mark.parametrize(
    ("name", "count"), [("table3", 0), ("ablation", 4), ("beta", 1), ("teachers", 1)]
)
def test_named_studies_tick_their_methods(
    tmp_path: Path, name: str, count: int
) -> None:
    sweep = sweep_of(tmp_path)
    named = Sweep(sweep.task, sweep.studies, sweep.usual, sweep.methods, name=name)
    own = named.own_methods(methods_of(tmp_path))
    assert own == methods_of(tmp_path) if not count else len(own) == count
    assert named.chosen().command()[3:] == ["a.toml", name]


def test_the_cells_of_a_study_may_bring_their_methods(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path)
    study = Study.model_validate({"cells": {"a": {"method": "sat"}}})
    other = Sweep(sweep.task, {OWN: study}, sweep.usual, sweep.methods)
    assert other.own_methods(()) == ()
    assert other.about() == "cells: a"


def test_nothing_ticked_is_a_problem(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path)
    parts = (sweep.task, sweep.studies, sweep.usual, sweep.methods)
    assert "method" in Sweep(*parts, ticked=()).problem()
    assert "seed" in Sweep(*parts, seeds=()).problem()
    assert sweep.problem() == ""


def test_a_plan_is_read_as_it_grows() -> None:
    cells = [{"name": "a,s0", "state": "new"}, {"name": "b,s0", "state": "finished"}]
    first = json.dumps({"study": "a-study-1234", "cells": cells})
    second = json.dumps({"left": 1, "lines": ["Disk: about 1 MB", "Time: unknown"]})
    assert read_plan([], None) == Plan()
    counted = read_plan([first], None)
    assert (counted.name, counted.count) == (
        "a-study-1234",
        "2 runs (1 new, 1 finished)",
    )
    assert counted.needs == ()
    whole = read_plan(["a warning", first, second], 0)
    assert whole.needs == ("Disk: about 1 MB", "Time: unknown")
    assert whole.problem == ""
    assert (
        read_plan(["a.toml: no method", "[1]"], 2).problem == "a.toml: no method\n[1]"
    )
    assert "exit code 1" in read_plan([], 1).problem
