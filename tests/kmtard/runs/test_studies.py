"""The folder of a study: which runs belong to it, and its tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kmtard.commands.report import main as report
from kmtard.runs import RunError
from kmtard.runs.studies import (
    StudyCell,
    StudyFolder,
    StudyRecord,
    collect_finished,
)
from kmtard.runs.study_task import StudyTask

pytestmark = pytest.mark.once("jax")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the user's own key out of the tests."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))


def record(*runs: str | None) -> StudyRecord:
    cells = tuple(
        StudyCell(
            name=f"b_mtard,s{n}", method="b_mtard", seed=n, key=f"a-s{n}", run=run
        )
        for n, run in enumerate(runs)
    )
    return StudyRecord(name="a-table3-1234", recipe="a.toml", cells=cells)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    folder = StudyFolder.beside(tmp_path / "runs", "a-table3-1234")
    assert not folder.is_study()
    folder.write(record("r0", None))
    assert folder.is_study()
    assert folder.read() == record("r0", None)
    assert folder.runs() == [tmp_path / "runs" / "r0"]


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": 2},
        {"cells": [{"name": "a"}]},
        {"cells": None},
        {"more": 1},
        {"cells": [{"name": "", "method": "", "seed": 0, "key": "", "run": "../a"}]},
        {"cells": [{"name": "", "method": "", "seed": 0, "key": "", "run": 3}]},
        {"cells": [{"name": 1, "method": "", "seed": 0, "key": ""}]},
        {"cells": [{"name": "", "method": "", "seed": "0", "key": ""}]},
        {"cells": [{"name": "", "method": "", "seed": 0, "key": "", "task": "sh"}]},
        {"task": {"recipe": "a.toml"}},
        {"task": "sh"},
        {"seal": 1},
        {"cwd": None},
    ],
)
def test_damaged_and_newer_records_are_refused(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    folder = StudyFolder.beside(tmp_path, "a")
    folder.write(record("r0"))
    path = folder.path / "study.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(RunError, match=r"study\.json"):
        folder.runs()


def test_a_command_is_the_users_own_only_in_its_place(tmp_path: Path) -> None:
    folder = StudyFolder.beside(tmp_path / "runs", "a-table3-1234")
    task = StudyTask(recipe="a.toml", seeds=(0,), trust=True, imports=("own",))
    seal = folder.sealed(task, "/work")
    mine = replace(record(None), task=task, cwd="/work", seal=seal)
    folder.write(mine)
    assert folder.read() == mine
    assert folder.is_own(folder.read())
    # Whoever can write the record can neither add trust nor choose the folder.
    for changed in (
        replace(mine, task=replace(task, imports=("other",))),
        replace(mine, task=task.without_grants()),
        replace(mine, cwd="/elsewhere"),
        replace(mine, seal="0" * 64),
        replace(mine, seal=None),
        record(None),
    ):
        folder.write(changed)
        assert not folder.is_own(folder.read())
    copied = StudyFolder.beside(tmp_path / "runs", "copy")
    copied.write(mine)
    assert not copied.is_own(copied.read())


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "studies").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="link"):
        StudyFolder.beside(tmp_path, "a").write(record("r0"))
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_study_is_reported_as_its_finished_runs(
    evaluated: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    runs = [evaluated(seed) for seed in (0, 1)]
    folder = StudyFolder.beside(runs[0].parent, "a-table3-1234")
    folder.write(record(*(run.name for run in runs), None))
    groups, problems = collect_finished(folder.runs())
    assert not problems and len(groups) == 1
    folder.write_tables(groups)
    assert "± 7.07" in (folder.path / "table.md").read_text()
    assert (folder.path / "table.csv").read_text().count("\n") == 2
    assert report([*map(str, runs), "--format", "csv"]) == 0
    alone = capsys.readouterr().out
    assert report([str(folder.path), "--format", "csv"]) == 0
    assert capsys.readouterr().out == alone
    (folder.path / "study.json").write_text("{}")
    assert report([str(folder.path)]) == 1
    assert "study.json" in capsys.readouterr().err
