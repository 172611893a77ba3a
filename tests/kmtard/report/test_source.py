from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from kmtard.report.source import CLEAN, command, read, run_folders
from kmtard.runs import EventWriter
from kmtard.runs.studies import StudyCell, StudyFolder, StudyRecord
from tests.kmtard.report.conftest import EPSILON, Reported, record

pytestmark = pytest.mark.once("jax")

OLD = Path(__file__).parents[2] / "fixtures" / "v0_1" / "runs"


def test_seeds_share_a_row_and_rows_have_the_order_of_the_registry(
    reported: Reported,
) -> None:
    runs = [reported(seed=0), reported("trades"), reported(seed=1)]
    runs.append(reported(options="beta = 2.0"))
    [bench] = read([run.path for run in runs]).benches
    assert bench.title == "cifar10, resnet18"
    assert [(each.label, len(each.members)) for each in bench.settings] == [
        ("trades", 1),
        ("b-mtard", 2),
        ("b-mtard, method.beta=2", 1),
    ]
    assert bench.settings[1].shares(CLEAN) == [0.9, 0.9]
    assert bench.settings[1].w_robust == [0.7, 0.7]


def test_radii_and_data_sets_are_kept_apart(reported: Reported) -> None:
    runs = [reported(), reported(epsilon=0.1), reported(data="cifar100")]
    benches = read([run.path for run in runs]).benches
    assert [bench.data for bench in benches] == ["cifar10", "cifar100"]
    assert [each.label for each in benches[0].settings] == [
        *("b-mtard, radius=0.1", "b-mtard, radius=8/255"),
    ]


def test_a_run_without_an_evaluation_shows_its_curves_in_its_row(
    reported: Reported,
) -> None:
    runs = [reported(seed=0, evaluated=False), reported(seed=1)]
    [bench] = read([run.path for run in runs]).benches
    [setting] = bench.settings
    assert [run.seed for run in setting.members] == ["1", "0"]
    assert setting.shares(CLEAN) == [0.9] and len(setting.last("loss")) == 2
    assert setting.headline == "pgd_trades"


def test_folders_of_runs_are_opened_and_wrong_paths_are_named(
    reported: Reported, tmp_path: Path
) -> None:
    runs = [reported(seed=seed) for seed in (0, 1)]
    (tmp_path / "empty").mkdir()
    folder = runs[0].path.parent
    found, problems = run_folders([folder, runs[0].path, tmp_path / "empty"])
    assert found == [run.path for run in runs] and not problems
    _, [problem] = run_folders([tmp_path / "none"])
    assert "is not a folder" in problem and str(tmp_path / "none") in problem


def test_a_study_is_read_as_its_runs_and_names_missing_cells(
    reported: Reported,
) -> None:
    runs = [reported(seed=0), reported(seed=1)]
    EventWriter(runs[1].events_path).write("run_stopped")
    names = [runs[0].name, runs[1].name, None]
    cells = [
        StudyCell(name=f"cell {k}", method="b_mtard", seed=k, key="", run=name)
        for k, name in enumerate(names)
    ]
    study = StudyFolder.beside(runs[0].path.parent, "table3")
    study.write(StudyRecord(name="table3", recipe="a.toml", cells=cells))
    assert run_folders([study.path]) == ([run.path for run in runs], [])
    assert run_folders([study.path], finished=True) == ([runs[0].path], [])
    [gap] = read([study.path]).gaps
    assert gap.startswith(
        "1 of 3 cells of the study table3 have no run, such as cell 2"
    )
    (study.path / "study.json").write_text("{}")
    source = read([study.path])
    assert not source.runs and not source.gaps
    assert "record of a study" in source.problems[0]


def test_damaged_runs_are_left_out_and_reported(reported: Reported) -> None:
    good, bad, newer = reported(seed=0), reported(seed=1), reported(seed=2)
    bad.recipe_path.write_text("no [ toml")
    newer.evaluation_path.write_text(json.dumps({"schema": 99}))
    source = read([run.path for run in (good, bad, newer)])
    assert [run.run.name for run in source.runs] == [good.name, newer.name]
    assert [run.results is None for run in source.runs] == [False, True]
    assert "recipe.toml is empty" in source.problems[0]
    assert "schema 99" in source.problems[1]


def test_records_under_other_conditions_are_kept_apart(reported: Reported) -> None:
    run = reported()
    other = record({"pgd_trades": 10}, epsilon=2 * EPSILON)
    (run.path / "evaluation" / "wide.json").write_text(json.dumps(other))
    [measured] = read([run.path]).runs
    assert measured.epsilon == EPSILON
    assert [each.student.attacks["pgd_trades"].epsilon for each in measured.others] == [
        2 * EPSILON
    ]


def test_runs_of_version_0_1_are_read(tmp_path: Path) -> None:
    shutil.copytree(OLD, tmp_path / "runs")
    source = read([tmp_path / "runs"])
    assert not source.problems
    assert {run.run.name for run in source.runs} == {"evaluated", "finished", "stopped"}
    [evaluated] = [run for run in source.runs if run.run.name == "evaluated"]
    # The second record of the same file has the outcome for each image.
    assert evaluated.student is not None and evaluated.student.clean.robust
    assert evaluated.results is not None and evaluated.results.labels


def test_commands_are_quoted_for_a_shell() -> None:
    assert command("fit", "a; rm -rf b") == "kmtard fit 'a; rm -rf b'"
