"""Runs of several seeds in one row."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from kmtard.runs.groups import collect, groups_table, without_shared
from tests.kmtard.runs.test_results import of_training

pytestmark = pytest.mark.once("torch")

Evaluated = Callable[..., Path]


def test_seeds_share_a_row(evaluated: Evaluated) -> None:
    groups, problems = collect([evaluated(0), evaluated(1), evaluated(2, epsilon=0.2)])
    assert problems == []
    assert [group.label for group in groups] == ["b-mtard (2)", "b-mtard"]
    assert [group.text("clean") for group in groups] == ["70.00", "55.00 ± 7.07"]
    assert groups[1].text("pgd_trades") == "20.00 ± 0.00"
    assert groups[1].text("W-Robust (pgd_trades)") == "37.50 ± 3.54"
    assert groups[1].text("autoattack") == "-"


def test_different_numbers_of_images_have_no_mean(
    evaluated: Evaluated,
) -> None:
    groups, _ = collect([evaluated(0), evaluated(1, images=5)])
    assert [len(group.w_robust) for group in groups] == [1, 1]


def test_w_robust_under_different_attacks_has_a_column_each(
    evaluated: Evaluated,
) -> None:
    first, second = evaluated(0), evaluated(1, method="mtard")
    content = json.loads((second / "evaluation.json").read_text())
    for network in content["networks"]:
        del network["attacks"]["pgd_trades"]
        network["headline"] = "fgsm"
    (second / "evaluation.json").write_text(json.dumps(content | {"headline": "fgsm"}))
    table = groups_table(collect([first, second])[0])
    assert table.header == [
        *("data", "student", "method", "runs", "clean"),
        *("fgsm", "pgd_trades", "W-Robust (fgsm)", "W-Robust (pgd_trades)"),
    ]
    assert [row[-2:] for row in table.rows] == [["75.00", "-"], ["-", "35.00"]]


def test_records_of_version_0_1_count_as_well(
    evaluated: Evaluated,
) -> None:
    path = evaluated(0)
    (path / "evaluation.json").write_text(json.dumps(of_training()))
    [group], problems = collect([path])
    assert (group.w_robust, problems) == ([0.625], [])


def test_what_all_rows_share_becomes_the_title(evaluated: Evaluated) -> None:
    table = groups_table(collect([evaluated(0)])[0])
    assert table.header[:4] == ["data", "student", "method", "runs"]
    short = without_shared(table)
    assert (short.title, short.header[0]) == ("digits, small_cnn", "method")
    assert short.rows == [table.rows[0][2:]]


def test_what_cannot_be_used_is_named(evaluated: Evaluated, tmp_path: Path) -> None:
    paths = [evaluated(seed) for seed in range(4)]
    (paths[0] / "evaluation.json").unlink()
    (paths[1] / "evaluation.json").write_text("{")
    (paths[2] / "recipe.toml").write_text("[")
    (tmp_path / "no run").mkdir()
    groups, problems = collect([*paths, tmp_path / "no run"])
    assert len(groups) == 1
    for path, problem in zip(paths, problems, strict=False):
        assert problem.startswith(f"{path} is left out: ")
    assert "has no evaluation.json" in problems[0]
    assert "recipe.toml is empty or not valid TOML" in problems[2]
    assert len(problems) == 3


def test_a_record_without_attacks_is_named(evaluated: Evaluated) -> None:
    path = evaluated(0)
    content = json.loads((path / "evaluation.json").read_text()) | {"headline": None}
    for network in content["networks"]:
        network |= {"attacks": {}, "headline": None}
    (path / "evaluation.json").write_text(json.dumps(content))
    assert collect([path])[0] == []
    assert "no attack on the student" in collect([path])[1][0]
