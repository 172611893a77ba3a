from __future__ import annotations

import json

import pytest

from kmtard.report.sections import effort
from kmtard.report.source import read
from kmtard.runs import EventWriter
from kmtard.runs.tables import Table
from tests.kmtard.report.conftest import Reported

pytestmark = pytest.mark.once("jax")


def test_time_passes_and_memory(reported: Reported) -> None:
    run = reported()
    memory = {"host": 3 * 2**30, "device": None}
    EventWriter(run.events_path).write(
        "run_finished", metrics={}, devices=["TFRT_CPU_0"], peak_memory=memory
    )
    section = effort.cost(read([run.path, reported(seed=1).path]))
    training, attacks = section.blocks
    assert isinstance(training, Table) and isinstance(attacks, Table)
    row = dict(zip(training.header, training.rows[0], strict=True))
    assert row["runs"] == "2" and row["epochs"] == "3" and row["s per epoch"] == "1.5"
    assert row["training"] == "12s" and row["memory, GiB"] == "3.00"
    assert "GPU memory, GiB" not in row
    assert list(attacks.rows[0]) == ["pgd_trades", "2", "21", "20", "20", "0.5"]
    assert not section.missing


def test_memory_that_was_not_recorded_can_be_estimated(reported: Reported) -> None:
    run = reported()
    [gap] = effort.cost(read([run.path])).missing
    assert f"`kmtard fit {run.recipe_path} --dry-run`" in gap


def test_equal_findings_are_one_row(reported: Reported) -> None:
    runs = [reported(seed=seed) for seed in (0, 1)]
    EventWriter(runs[1].events_path).write("warning", message="low disk space")
    [_, table] = effort.diagnostics(read([run.path for run in runs])).blocks
    assert isinstance(table, Table)
    found = [list(row) for row in table.rows if row[0] in ("student", "run")]
    assert found == [
        ["student", "few-classes", "4 classes", f"{runs[0].name} and 1 more"],
        ["run", "warning", "low disk space", runs[1].name],
    ]


def test_a_report_without_findings_says_so(reported: Reported) -> None:
    run = reported()
    content = json.loads(run.evaluation_path.read_text())
    for network in content["networks"]:
        network["findings"] = []
    run.evaluation_path.write_text(json.dumps(content))
    [text, _] = effort.diagnostics(read([run.path])).blocks
    assert isinstance(text, str) and "found no problem in 1 run." in text


def test_the_verdict_comes_first_with_the_command_to_run(reported: Reported) -> None:
    runs = [reported(seed=seed) for seed in (0, 1)]
    table = effort.diagnostics(read([run.path for run in runs])).blocks[0]
    assert isinstance(table, Table)
    [[sentence, todo, where]] = table.rows
    assert sentence.startswith("Do not quote this robust accuracy, because")
    assert todo.startswith("kmtard evaluate ") and "--attacks autoattack" in todo
    assert where.endswith(" and 1 more")
