"""Runs of several seeds in one row."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from kmtard.runs import Run, list_runs
from kmtard.runs.groups import collect, groups_table, without_shared
from kmtard.runs.library import Library
from kmtard.runs.notes import Notes, write_notes
from tests.kmtard.runs.test_results import of_training

pytestmark = pytest.mark.once("torch")

Evaluated = Callable[..., Path]


def test_seeds_share_a_row(evaluated: Evaluated) -> None:
    groups, problems = collect([evaluated(0), evaluated(1), evaluated(2, epsilon=0.2)])
    assert problems == []
    assert [(group.epsilon, group.differs) for group in groups] == [
        *((0.1, ""), (0.2, "")),
    ]
    assert [group.text("clean") for group in groups] == ["55.00 ± 7.07", "70.00"]
    assert groups[0].text("pgd_trades") == "20.00 ± 0.00"
    assert groups[0].text("W-Robust (pgd_trades)") == "37.50 ± 3.54"
    assert groups[0].text("autoattack") == "-"


def test_radii_have_a_column_and_are_not_ranked_together(
    evaluated: Evaluated,
) -> None:
    paths = [evaluated(3, epsilon=8 / 255), evaluated(0, epsilon=0.2)]
    paths += [evaluated(1, method="mtard"), evaluated(0)]
    groups, _ = collect(paths)
    table = groups_table(groups)
    assert table.header[:5] == ["data", "student", "method", "radius", "runs"]
    assert [row[2:4] for row in table.rows] == [
        *(["b-mtard", "8/255"], ["mtard", "0.1"], ["b-mtard", "0.1"]),
        ["b-mtard", "0.2"],
    ]
    assert "radius" not in groups_table(groups[1:3]).header


def test_settings_that_differ_have_a_column(evaluated: Evaluated) -> None:
    paths = [evaluated(0), evaluated(1), evaluated(0, method="mtard")]
    recipe = paths[1] / "recipe.toml"
    recipe.write_text(recipe.read_text() + "[optimizer]\nlearning_rate = 0.05\n")
    table = groups_table(collect(paths)[0])
    assert table.header[:5] == ["data", "student", "method", "settings", "runs"]
    assert [row[2:4] for row in table.rows] == [
        ["b-mtard", "optimizer.learning_rate=0.05"],
        *(["b-mtard", "-"], ["mtard", "-"]),
    ]


def test_tags_have_a_column(evaluated: Evaluated) -> None:
    paths = [evaluated(0), evaluated(1), evaluated(0, method="mtard")]
    assert "tags" not in groups_table(collect(paths)[0]).header
    write_notes(Run(paths[0]), Notes(tags=("final", "a")))
    write_notes(Run(paths[1]), Notes("a note", ("final", "b")))
    groups, problems = collect(paths)
    table = groups_table(groups)
    assert table.header[:5] == ["data", "student", "method", "tags", "runs"]
    assert sorted(row[2:4] for row in table.rows) == [
        *(["b-mtard", "a b final"], ["mtard", "-"]),
    ]
    Run(paths[2]).notes_path.write_text('{"schema": 9}')
    groups, problems = collect(paths)
    assert len(groups) == 2 and "schema 9" in problems[0]


def test_what_is_trained_at_one_radius_and_evaluated_at_another_is_told(
    evaluated: Evaluated,
) -> None:
    first, second = evaluated(0), evaluated(1, epsilon=0.2)
    content = json.loads((second / "evaluation.json").read_text())
    for score in content["networks"][-1]["attacks"].values():
        score["settings"]["epsilon"] = 0.1
    (second / "evaluation.json").write_text(json.dumps(content))
    groups, _ = collect([first, second])
    assert [group.differs for group in groups] == [
        *("attack.epsilon=0.2", ""),
    ]


def test_evaluations_at_another_radius_are_no_further_seed(
    evaluated: Evaluated,
) -> None:
    first, second = evaluated(0), evaluated(1)
    content = json.loads((second / "evaluation.json").read_text())
    for score in content["networks"][-1]["attacks"].values():
        score["settings"]["epsilon"] = 0.3
    (second / "evaluation.json").write_text(json.dumps(content))
    groups, _ = collect([first, second])
    assert [(group.epsilon, len(group.w_robust)) for group in groups] == [
        (0.1, 1),
        (0.3, 1),
    ]


def test_a_link_beside_the_runs_is_no_further_seed(
    evaluated: Evaluated, tmp_path: Path
) -> None:
    paths = [evaluated(0), evaluated(1)]
    latest = paths[0].with_name("latest")
    latest.symlink_to(paths[1].name)
    [group], problems = collect([latest, *paths, paths[0].parent / "." / paths[0].name])
    assert (len(group.w_robust), problems) == (2, [])
    assert [run.name for run in list_runs(latest.parent)] == [
        *(path.name for path in reversed(paths)),
    ]
    names = [row.name for row in Library(latest.parent).scan()]
    assert sorted(names) == sorted(path.name for path in paths)
    # Given alone, the link means the run that it points to.
    [group], _ = collect([latest])
    assert len(group.w_robust) == 1
    outside = tmp_path / "other" / "latest"
    outside.parent.mkdir()
    outside.symlink_to(paths[0])
    assert [run.path for run in list_runs(outside.parent)] == [outside]


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
