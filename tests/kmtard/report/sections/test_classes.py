from __future__ import annotations

import json

import pytest

from kmtard.report.drawings import Grids
from kmtard.report.sections import classes
from kmtard.report.source import read
from kmtard.runs import Run
from kmtard.runs.tables import Table
from tests.kmtard.report.conftest import Reported

pytestmark = pytest.mark.once("jax")


def rewrite(run: Run, labels: list[int], answers: list[int]) -> None:
    """Give all columns of the student the same predictions."""
    content = json.loads(run.evaluation_path.read_text())
    content.update(labels=" ".join(map(str, labels)), images=len(labels))
    student = content["networks"][-1]
    for column in (student["clean"], *student["attacks"].values()):
        pairs = list(zip(labels, answers, strict=True))
        column["robust"] = "".join("01"[a == b] for a, b in pairs)
        column["predictions"] = " ".join(map(str, answers))
    run.evaluation_path.write_text(json.dumps(content))


def test_accuracy_per_class_and_the_worst_one(reported: Reported) -> None:
    run = reported()
    rewrite(run, [0, 0, 1, 1, 2, 2], [0, 0, 1, 0, 2, 2])
    grids, table = classes.per_class(read([run.path])).blocks
    assert isinstance(grids, Grids) and isinstance(table, Table)
    assert [list(grid.values[0]) for grid in grids.grids] == [[100, 50, 100]] * 2
    assert [grid.title for grid in grids.grids] == ["clean", "under pgd_trades"]
    row = dict(zip(table.header, table.rows[0], strict=True))
    assert row["clean: worst class"] == "50.00" and row["clean: its label"] == "1"
    assert row["pgd_trades: mean"] == "83.33"


def test_confusion_is_summed_over_the_seeds(reported: Reported) -> None:
    runs = [reported(seed=seed) for seed in (0, 1)]
    rewrite(runs[0], [0, 0, 1, 1], [0, 0, 1, 0])
    rewrite(runs[1], [0, 0, 1, 1], [0, 1, 1, 1])
    [grids] = classes.confusions(read([run.path for run in runs])).blocks
    assert isinstance(grids, Grids) and grids.is_beside
    assert [list(row) for row in grids.grids[0].values] == [[75, 25], [25, 75]]
    assert "2 seeds" in grids.caption


def test_many_classes_become_tables(reported: Reported) -> None:
    run = reported()
    labels = list(range(30)) + [29]
    rewrite(run, labels, [7, *range(1, 29), 3, 3])
    [table] = classes.per_class(read([run.path])).blocks
    assert isinstance(table, Table)
    row = dict(zip(table.header, table.rows[0], strict=True))
    assert row["clean: 10 worst labels"].startswith("0, 29, 1, 2")
    [table] = classes.confusions(read([run.path])).blocks
    assert isinstance(table, Table)
    assert [list(row[:2]) for row in table.rows] == [["29 → 3", "2"], ["0 → 7", "1"]]


def test_missing_outcomes_come_with_the_command(reported: Reported) -> None:
    run = reported()
    rewrite(run, [], [])
    for build in (classes.per_class, classes.confusions):
        section = build(read([run.path]))
        assert not section.blocks
        assert f"`kmtard evaluate {run.path}`" in section.missing[0]
