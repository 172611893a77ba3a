"""Names of version 0.1.0 that recipes, commands and programs may hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmtard import registry
from kmtard.recipe import load
from kmtard.runs import Run

pytestmark = pytest.mark.once("jax")

METHODS = """natural sat trades score ard fair-ard iad rslad absld lmtn baseline
baseline-ebb mtard b-mtard mart adaad""".split()
ATTACKS = """fgsm pgd_sat pgd_trades cw_inf apgd-ce apgd-dlr apgd-t fab-t square
autoattack square_100 rays_100 ge transfer_pgd_trades transfer_cw_inf""".split()


def alike(name: str) -> str:
    return name.replace("_", "-")


@pytest.mark.parametrize("table", ["methods", "attacks"])
def test_name_stands_for_an_object(table: str) -> None:
    for name in METHODS if table == "methods" else ATTACKS:
        assert callable(registry.resolve(table, name)), name
        assert registry.summary(table, name), name


@pytest.mark.parametrize("name", METHODS)
def test_recipe_names_a_method(name: str, old: Path) -> None:
    recipe = load("tiny.toml", method=name)
    assert alike(recipe.method.name) == alike(name)
    again = old / "again.toml"
    again.write_text(recipe.to_toml())
    assert load(again) == recipe


def test_recipe_has_a_table_for_a_hyphenated_method(old: Path) -> None:
    # Twice: the table [methods.b-mtard], and the resolved recipe of a run.
    for path in ("tiny.toml", Run.open("runs/finished").recipe_path):
        options = load(path).training("student").method_options
        assert options["weight_rate"] == 0.02


def test_recipe_names_attacks(old: Path) -> None:
    recipe = load("tiny.toml", overrides=[f"evaluation.attacks={ATTACKS}"])
    assert list(map(alike, recipe.evaluation.attacks)) == list(map(alike, ATTACKS))


def test_events_name_their_method(old: Path) -> None:
    for name, method in (("finished", "b-mtard"), ("evaluated", "trades")):
        started = Run.open(Path("runs", name)).events().poll()[0]
        assert (started["event"], started["method"]) == ("run_started", method)
        registry.resolve("methods", started["method"])
