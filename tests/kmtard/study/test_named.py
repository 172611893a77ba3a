"""The named studies work with the recipes and have the paper's settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmtard.study.grid import cells_of
from kmtard.study.named import named_studies, named_study

pytestmark = pytest.mark.once("jax")

CIFAR10 = str(Path(__file__).parents[3] / "recipes" / "cifar10.toml")


@pytest.mark.parametrize(
    ("name", "count", "parts"),
    [
        ("table3", 16, ["natural", "b_mtard", "absld"]),
        ("ablation", 4, ["baseline", "baseline_ebb", "mtard", "b_mtard"]),
        ("temperatures", 4, [f"method.temperature={t}" for t in (1.0, 2.0, 5.0, 8.0)]),
        ("beta", 4, [f"method.beta={beta}" for beta in (0.5, 1.0, 4.0, 10.0)]),
        ("multi_teacher", 2, ["lmtn", "b_mtard"]),
        ("teachers", 3, ["RN-56_WRN-34-10", "WRN-34-10-C_WRN-70-16"]),
    ],
)
def test_a_study_of_the_paper(name: str, count: int, parts: list[str]) -> None:
    cells = cells_of(CIFAR10, named_study(name))
    assert len(cells) == count
    found = {part for cell in cells for part in cell.parts}
    assert {*parts} <= found


def test_the_pairs_of_teachers() -> None:
    cells = cells_of(CIFAR10, named_study("teachers"))
    pairs = [
        (cell.recipe.nat_teacher.network, cell.recipe.adv_teacher.network)
        for cell in cells
        if cell.recipe.nat_teacher and cell.recipe.adv_teacher
    ]
    assert pairs == [
        ("resnet56", "wide_resnet_34_10"),
        ("wide_resnet_34_10", "wide_resnet_34_10"),
        ("wide_resnet_34_10", "wide_resnet_70_16"),
    ]
    assert cells[1].recipe.nat_teacher != cells[0].recipe.nat_teacher


def test_a_wrong_name_gets_a_suggestion() -> None:
    with pytest.raises(ValueError, match="Did you mean ablation"):
        named_study("ablations")
    with pytest.raises(ValueError, match="Known names: table3"):
        named_study("x")
    assert all(study.methods for study in named_studies().values())
