from __future__ import annotations

import os
import shutil

import pytest

from kmtard.runs import EventWriter, Run
from kmtard.runs.phase import Accuracies
from kmtard.runs.summary import Summary
from kmtard.runs.watch import RunWatch, ending

pytestmark = pytest.mark.once("torch")


def ended(watch):
    return [(run.name, run.state) for run in watch.look()]


def test_a_run_that_ends_is_found_once(make_run, tmp_path):
    watch = RunWatch(tmp_path / "runs")
    assert ended(watch) == []
    make_run("old")
    run, other = make_run("a", state="running"), make_run("b", state="running")
    assert ended(watch) == []
    EventWriter(run.events_path).write("run_finished")
    EventWriter(other.events_path).write("run_failed", reason="no luck")
    assert sorted(ended(watch)) == [("a", "finished"), ("b", "failed")]
    assert ended(watch) == []
    # Resumed, it may end again.
    EventWriter(run.events_path).write("run_started", resumed=True)
    assert ended(watch) == []
    EventWriter(run.events_path).write("run_stopped")
    assert ended(watch) == [("a", "stopped")]


def test_what_was_there_before_is_not_told(make_run, tmp_path):
    make_run("a")
    watch = RunWatch(tmp_path / "runs")
    assert ended(watch) == ended(watch) == []


def test_a_run_that_has_ended_costs_no_reading(make_run, tmp_path, monkeypatch):
    for name in "abc":
        make_run(name)
    watch = RunWatch(tmp_path / "runs")
    watch.look()
    monkeypatch.setattr(Run, "state", None)
    assert watch.look() == []


def test_folders_that_are_no_runs_or_vanish(make_run, tmp_path):
    watch = RunWatch(tmp_path / "runs")
    run = make_run("a", state="running")
    (tmp_path / "runs" / "studies").mkdir()
    (tmp_path / "runs" / "file").write_text("x")
    damaged = make_run("damaged", state="running")
    assert ended(watch) == []
    damaged.events_path.unlink()
    os.mkfifo(damaged.events_path)
    shutil.rmtree(run.path)
    assert ended(watch) == []
    shutil.rmtree(tmp_path / "runs")
    assert ended(watch) == []


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"state": "stopped"}, "a stopped"),
        ({"state": "crashed", "note": "no luck"}, "a crashed: no luck"),
        (
            {"state": "finished", "score": Accuracies(0.9, 0.1, 0.5)},
            "a finished: W-Robust 50.00 (test)",
        ),
    ],
)
def test_the_end_in_one_line(fields, text):
    assert ending(Summary(Run("runs/a"), **fields)) == text
