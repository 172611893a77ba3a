from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from kmtard import benchmark
from kmtard.benchmarks import launcher
from kmtard.runs.library import Library
from kmtard.runs.results import read_all

pytestmark = pytest.mark.once("torch")


def test_the_generated_runs_are_complete(tmp_path: Path) -> None:
    launcher.make_runs(tmp_path / "runs", 6)
    newest, *others = Library(tmp_path / "runs").scan()
    assert (newest.name, newest.state) == ("run-005", "running")
    assert [row.state for row in others] == ["finished"] * 5
    assert [row.seed for row in others] == ["4", "3", "2", "1", "0"]
    [record], problems = read_all(newest.run.path)
    assert not problems and record.student.headline == "pgd_trades"


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("--repeats=0", "--repeats: expected at least 1. Received: 0."),
        ("--runs=1", "--runs: expected at least 2. Received: 1."),
        ("--seconds=0", "--seconds: expected a number > 0. Received: 0.0."),
        ("--seconds=nan", "--seconds: expected a number > 0. Received: nan."),
    ],
)
def test_wrong_options_are_refused(
    option: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        benchmark.main(["--launcher", option])
    assert ended.value.code == 2
    assert reason in capsys.readouterr().err


def test_an_interface_that_draws_something_else_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(launcher, "PROGRAM", ("-c", "print('no interface')"))
    assert benchmark.main(["--launcher", "--runs=2", "--repeats=1"]) == 1
    assert "no interface" in capsys.readouterr().err


@pytest.mark.slow
def test_all_figures_are_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "figures.json"
    options = ["--runs=6", "--repeats=1", "--seconds=0.2", f"--json={path}"]
    assert benchmark.main(["--launcher", *options]) == 0
    [result] = json.loads(path.read_text())
    assert set(result["figures"]) == {goal.name for goal in launcher.GOALS}
    values = {name: each["value"] for name, each in result["figures"].items()}
    assert values.pop("idle") >= 0  # 0.2 s may be too short for any
    assert all(value > 0 for value in values.values())
    assert set(result["idle_percent"]) == {name for name, *_ in launcher.SCREENS}
    start = result["start_seconds"]
    assert start["import"] < start["first_paint"] <= start["listed"]
    assert "key to paint" in capsys.readouterr().out


def test_a_missed_goal_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    figures = {
        goal.name: {"value": 2 * goal.limit, "limit": goal.limit, "is_met": False}
        for goal in launcher.GOALS
    }
    figures["key"] |= {"value": 0.02, "is_met": True}
    start = dict.fromkeys(("first_paint_cpu", "import_cpu", "listed_cpu"), 0.25)
    result = {
        "figures": figures,
        "start_seconds": start,
        "key_seconds": {"slowest": 0.5},
        "idle_percent": {"runs": 0.4},
        "machine": {"load_before": 0.1, "load_after": 7.5, "cores": 2},
        **{"runs": 200, "repeats": 5},
    }
    Console(width=80).print(launcher.table(result))
    shown = capsys.readouterr().out
    assert shown.count("missed") == len(launcher.GOALS) - 1
    assert "20 ms" in shown and "240 MiB" in shown and "7.5 after" in shown
