"""A queue of version 0.1.0 is read, and its entries own their runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from kmtard.runs import Run
from kmtard.runs.queue.queue import Queue
from kmtard.runs.queue.run_finder import owns
from kmtard.runs.queue.task import Task

pytestmark = pytest.mark.once("jax")


def test_it_is_read(old: Path, expected: dict[str, Any]) -> None:
    queue = Queue(old / "runs")
    entries = queue.entries()
    found = [[each.id, each.title, each.state, each.run] for each in entries]
    assert found == expected["queue"]
    assert queue.damaged() == []
    assert queue.limit == 2
    assert [entry.is_elsewhere for entry in entries] == [False, False, True, False]
    assert entries[1].stopping and entries[0].exit_code == 0
    assert {entry.task for entry in entries} == {
        Task.fit("tiny.toml", method="b-mtard")
    }


def test_ended_entries_own_their_runs(old: Path) -> None:
    for entry in Queue(old / "runs").entries()[:2]:
        name = os.path.basename(str(entry.run))
        assert owns(entry, Run.open(old / "runs" / name).info())


def test_it_is_changed(old: Path, expected: dict[str, Any]) -> None:
    queue = Queue(old / "runs")
    assert queue.clear_finished() == 2
    added = queue.add(Task.fit("new.toml"), "new", "jax")
    ids = [entry.id for entry in Queue(old / "runs").entries()]
    assert ids == [*(each[0] for each in expected["queue"][2:]), added.id]
