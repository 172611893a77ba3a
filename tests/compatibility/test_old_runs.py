"""Run folders of version 0.1.0 can be opened, reported and resumed."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kmtard.commands import fit, report
from kmtard.runs import Run, list_runs

pytestmark = pytest.mark.once("jax")

RUNS = ("finished", "stopped", "evaluated")
STEPS = 96  # of the student's six epochs


def epochs(run: Run, phase: str | None = None) -> list[list[Any]]:
    """Phase, epoch and W-Robust accuracy of each epoch."""
    return [
        [event["phase"], event["epoch"], event["metrics"]["w_robust_accuracy"]]
        for event in run.events().poll()
        if event["event"] == "epoch" and phase in (None, event["phase"])
    ]


def last_point(run: Run, step: int = STEPS) -> dict[str, np.ndarray]:
    """The arrays of a student's checkpoint."""
    with np.load(run.checkpoints / "student" / f"{step:010d}.npz") as arrays:
        return {name: arrays[name] for name in arrays if name != "meta"}


@pytest.mark.parametrize("name", RUNS)
def test_it_opens(name: str, old: Path, expected: dict[str, Any]) -> None:
    run, wanted = Run.open(old / "runs" / name), expected["runs"][name]
    assert run.info()["host"] != socket.gethostname()
    # A final event decides, wherever the process was.
    assert run.state() == wanted["state"]
    assert len(run.events().poll()) == wanted["events"]
    assert epochs(run) == wanted["epochs"]


def test_all_are_listed(old: Path) -> None:
    assert {run.path.name for run in list_runs(old / "runs")} == set(RUNS)


def test_report_collects_them(
    old: Path, expected: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [f"runs/{name}" for name in ("finished", "evaluated")]
    assert report.main([*paths, "--format", "csv"]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    rows = [
        dict(zip(header.split(","), line.split(","), strict=True)) for line in lines
    ]
    found = {row["method"].replace("_", "-"): row for row in rows}
    assert found.keys() == {"b-mtard", "trades"}
    # The other run's record has fewer images than its rows.
    row, wanted = found["b-mtard"], expected["runs"]["finished"]["rows"][-1]
    assert (row["data"], row["student"], row["runs"]) == ("digits", "small_cnn", "1")
    assert float(row["clean"]) == pytest.approx(
        100 * wanted["clean_accuracy"], abs=0.006
    )
    for attack, accuracy in wanted["robust_accuracy"].items():
        assert float(row[attack]) == pytest.approx(100 * accuracy, abs=0.006)


def test_stopped_run_goes_on_to_the_end_of_the_unbroken_one(
    old: Path, expected: dict[str, Any]
) -> None:
    run = Run.open("runs/stopped")
    assert fit.main(["--resume", str(run.path)]) == 0
    assert run.state() == "finished"
    assert run.info()["host"] == socket.gethostname()
    started = [
        [event["phase"], event["step"]]
        for event in run.events().poll()
        if event["event"] == "phase_started" and event["phase"] != "evaluation"
    ]
    # The teachers come out of the cache and are not trained again.
    assert started == [["student", 0], ["student", 70]]
    wanted = [each for each in expected["runs"]["finished"]["epochs"]]
    wanted = [each for each in wanted if each[0] == "student"]
    found = epochs(run, "student")
    assert [each[:2] for each in found] == [each[:2] for each in wanted]
    assert [e[2] for e in found] == pytest.approx([e[2] for e in wanted], abs=0.05)
    unbroken, resumed = last_point(Run.open("runs/finished")), last_point(run)
    assert resumed.keys() == unbroken.keys()
    for key, array in unbroken.items():
        # Other processors and compiler flags round differently.
        np.testing.assert_allclose(
            resumed[key], array, rtol=0.02, atol=0.02, err_msg=key
        )
    assert (run.best / "student.keras").exists()
    assert report.collect([run.path])[1] == []


def test_finished_run_stays_finished(old: Path, expected: dict[str, Any]) -> None:
    run = Run.open("runs/finished")
    before = last_point(run)
    assert fit.main(["--resume", str(run.path)]) == 0
    assert run.state() == "finished"
    assert epochs(run) == expected["runs"]["finished"]["epochs"], "trained again"
    for key, array in last_point(run).items():
        np.testing.assert_array_equal(array, before[key], err_msg=key)
