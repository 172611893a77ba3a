"""Which records make a curve, and the commands that add more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kmtard.runs.radii import (
    curve_command,
    curve_radii,
    evaluate_command,
    radius_records,
)
from kmtard.runs.results import Results, read_all
from tests.kmtard.runs.test_results import record, written

pytestmark = pytest.mark.once("torch")


def records(folder: Path, *conditions: dict[str, Any]) -> list[Results]:
    """Return records, the first one of the run itself."""
    for number, each in enumerate(conditions):
        content = record()
        content["conditions"] |= each
        place = folder / "evaluation" if number else folder
        written(place, content, f"{number}.json" if number else "evaluation.json")
    found, problems = read_all(folder)
    assert not problems
    return found


def radii(found: list[Results]) -> list[float]:
    return [(each.conditions or {})["epsilon"] for each in radius_records(found)]


def test_records_of_one_radius_are_no_curve(tmp_path: Path) -> None:
    assert radius_records([]) == []
    assert radius_records(records(tmp_path, {})) == []


def test_the_largest_group_in_order(tmp_path: Path) -> None:
    found = records(
        tmp_path,
        {"epsilon": 0.2},
        {"epsilon": 0.1},
        {"epsilon": 0.4, "seed": 9},
        {"epsilon": 0.3, "images": "other"},
        {"epsilon": 0.05, "smaller_epsilons": []},
    )
    assert radii(found) == [0.05, 0.1, 0.2]


def test_a_record_that_knows_smaller_radii_is_preferred(tmp_path: Path) -> None:
    found = records(
        tmp_path,
        {"epsilon": 0.2},
        {"epsilon": 0.1},
        {"epsilon": 0.2, "smaller_epsilons": [0.1]},
    )
    assert radius_records(found)[1].path.name == "2.json"


def test_radius_zero_and_none_are_left_out(tmp_path: Path) -> None:
    assert radii(records(tmp_path, {"epsilon": 0.0}, {"epsilon": 0.1})) == []
    assert radii(records(tmp_path, {"epsilon": None}, {"epsilon": 0.1})) == []


def test_the_command_for_a_curve() -> None:
    words = "kmtard evaluate a --epsilons 0,0.25,0.5,1"
    assert curve_command(Path("a"), curve_radii(1.0)) == words
    assert curve_command(Path("a b"), ("0",)) == "kmtard evaluate 'a b' --epsilons 0"


def test_the_command_for_what_a_record_lacks(tmp_path: Path) -> None:
    own, other, curve = records(
        tmp_path,
        {"epsilon": 8 / 255},
        {"epsilon": 4 / 255},
        {"epsilon": 0.123456, "smaller_epsilons": [2 / 255]},
    )
    command = f"kmtard evaluate {tmp_path}"
    assert evaluate_command(tmp_path, own) == command
    assert evaluate_command(tmp_path, own, "fgsm") == f"{command} --attacks fgsm"
    assert evaluate_command(tmp_path, own, "my own") == command
    assert evaluate_command(tmp_path, other) == f"{command} --epsilon 4/255"
    assert evaluate_command(tmp_path, curve) == f"{command} --epsilons 2/255,0.123456"
