"""A study in the list of runs: one line that opens, stops, resumes and reports."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from kmtard.runs import Run
from kmtard.runs.queue.queue import Queue
from kmtard.runs.study_task import StudyTask
from launcher.app import LauncherApp
from launcher.screens import study_starter
from launcher.screens.compare import CompareScreen
from launcher.screens.confirm import ConfirmScreen
from launcher.screens.export import ExportScreen
from launcher.screens.live import LiveScreen
from launcher.screens.study_actions import StudyActions
from launcher.screens.study_report import StudyReportScreen
from launcher.settings import Settings
from launcher.widgets.run_detail import RunDetail
from launcher.widgets.run_table import RunTable
from launcher.widgets.text_table import TextTable
from tests.launcher.engine_fixtures import start_run, told
from tests.launcher.pilots import screen_text, until
from tests.launcher.studies_fixtures import (
    MakeStudy,
    cell_task,
    evaluated,
    make_run,
    make_study,
)

__all__ = ["evaluated", "make_run", "make_study"]
pytestmark = pytest.mark.asyncio

SIZES = [(120, 40), (80, 24)]
Show = Callable[..., AbstractAsyncContextManager[Pilot[Any]]]


@pytest.fixture
def show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Show:
    monkeypatch.setattr(Queue, "ensure_runner", lambda queue: None)
    monkeypatch.setattr(StudyActions, "cells_asked_to_stop", set())

    @asynccontextmanager
    async def show(size: tuple[int, int] = (80, 24)) -> AsyncIterator[Pilot[Any]]:
        settings = Settings(tmp_path / "launch.json")
        app = LauncherApp(tmp_path / "runs", settings=settings)
        async with app.run_test(size=size) as pilot:
            await until(pilot, lambda: table(pilot).lines)
            await pilot.pause()
            yield pilot

    return show


def table(pilot: Pilot[Any]) -> RunTable:
    return pilot.app.screen_stack[0].query_one(RunTable)


def shown(pilot: Pilot[Any]) -> list[str]:
    return [f"{'  ' * line.depth}{line.name}" for line in table(pilot).lines]


def detail(pilot: Pilot[Any]) -> str:
    return str(pilot.app.screen.query_one(RunDetail).content.plain)  # type: ignore


@pytest.fixture
def study(make_study: MakeStudy, evaluated: Callable[..., Path], show: Show) -> Path:
    """A study of two methods: two seeds have finished, one waits, one is new."""
    runs = [evaluated(seed, method="sat") for seed in (0, 1)]
    folder = make_study(
        [
            ("sat", 0, runs[0]),
            ("sat", 1, runs[1]),
            ("trades", 0, None),
            ("trades", 1, None),
        ]
    )
    Queue(folder.runs_dir).add(cell_task("trades", 0), "trades,s0", "jax")
    return folder.path


@pytest.mark.parametrize("size", SIZES)
async def test_a_study_opens_to_its_cells_by_keys(
    show: Show, study: Path, size: tuple[int, int]
) -> None:
    async with show(size) as pilot:
        assert shown(pilot) == [study.name]
        assert "▸ a-table3-1234" in screen_text(pilot)
        assert "○ waiting" in screen_text(pilot)
        assert "1 study · 2 runs" in screen_text(pilot)
        await until(pilot, lambda: "2 finished, 1 waiting, 1 new" in detail(pilot))
        assert "sat  clean 55.00 ± 7.07" in detail(pilot)
        await pilot.press("enter")
        assert shown(pilot) == [
            *(study.name, "  sat", "    sat,s0", "    sat,s1"),
            *("  trades", "    trades,s0", "    trades,s1"),
        ]
        text = screen_text(pilot)
        assert "▾ a-table3-1234" in text and "37.50 ± 3.54" in text
        assert "· new" in text
        await pilot.press("down")
        assert "W-Robust 37.50 ± 3.54" in detail(pilot)
        await pilot.press("enter")
        assert shown(pilot)[1:3] == ["  sat", "  trades"]
        await pilot.press("enter", "down", "enter")
        assert isinstance(pilot.app.screen, LiveScreen)
        await pilot.press("escape", "G", "enter")
        assert "trades,s1 has no run yet: it is new." in told(pilot.app)
        await pilot.press("up")
        assert detail(pilot).startswith("trades,s0  ○ waiting  in the queue")
    # What is open is remembered.
    async with show(size) as pilot:
        assert len(shown(pilot)) == 7


@pytest.mark.parametrize("size", SIZES)
async def test_a_study_opens_by_the_mouse(
    show: Show, study: Path, size: tuple[int, int]
) -> None:
    async with show(size) as pilot:
        # On the sign one click is enough.
        await pilot.click(RunTable, offset=(12, 1))
        await until(pilot, lambda: len(shown(pilot)) == 7)
        await pilot.click(RunTable, offset=(14, 2))
        await until(pilot, lambda: len(shown(pilot)) == 5)
        assert table(pilot).cursor_row == 1
        # Elsewhere the first one chooses the line.
        await pilot.click(RunTable, offset=(20, 1))
        await until(pilot, lambda: table(pilot).cursor_row == 0)
        assert len(shown(pilot)) == 5
        await pilot.click(RunTable, offset=(20, 1))
        await until(pilot, lambda: len(shown(pilot)) == 1)


async def test_what_cannot_be_done_says_why(show: Show, study: Path) -> None:
    async with show() as pilot:
        screen = pilot.app.screen
        assert isinstance(screen, StudyActions)
        assert screen.unavailable("stop_run") == ""
        assert screen.unavailable("resume_run") == ""
        assert "open it and choose a run" in screen.unavailable("delete_run")
        await pilot.press("enter", "down")
        assert "choose one of them" in screen.unavailable("stop_run")
        await pilot.press("down")
        assert screen.unavailable("delete_run") == ""
        await pilot.press("G")
        assert screen.unavailable("resume_run") == "trades,s1 has no run yet"


async def test_marks_comparison_and_filter_know_the_runs_of_a_study(
    show: Show, study: Path
) -> None:
    async with show() as pilot:
        await pilot.press("space")
        assert len(table(pilot).marked) == 2
        assert "◆○ waiting" in screen_text(pilot)
        await pilot.press("space")
        assert not table(pilot).marked
        await pilot.press("c")
        assert isinstance(pilot.app.screen, CompareScreen)
        await pilot.press("escape", "slash", *"study:table", "enter")
        assert shown(pilot) == [study.name]
        await pilot.press("slash", "end", "ctrl+u", *"study:other", "enter")
        await until(pilot, lambda: not shown(pilot))


@pytest.mark.parametrize("size", SIZES)
async def test_a_study_is_stopped_and_then_killed(
    show: Show, make_study: MakeStudy, tmp_path: Path, size: tuple[int, int]
) -> None:
    run, process = start_run(tmp_path / "runs", "one", "deaf")
    folder = make_study([("sat", 0, run.path), ("sat", 1, None)])
    queue = Queue(folder.runs_dir)
    queue.add(cell_task("sat", 1), "sat,s1", "jax")
    async with show(size) as pilot:
        await pilot.press("ctrl+k")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmScreen))
        assert f"Stop {folder.path.name}?" in screen_text(pilot)
        await pilot.press("n")
        assert len(queue.entries()) == 1
        await pilot.press("ctrl+k")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmScreen))
        await pilot.press("y")
        await until(pilot, lambda: "is stopping" in told(pilot.app))
        assert queue.entries() == []
        await pilot.press("ctrl+k")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmScreen))
        assert f"Kill {folder.path.name}?" in screen_text(pilot)
        await pilot.press("y")
        await until(pilot, lambda: process.poll() is not None)
        await until(pilot, lambda: "was killed" in told(pilot.app))


def script(monkeypatch: pytest.MonkeyPatch, code: str) -> list[StudyTask]:
    """Let every study run a program, and return the tasks that were started."""
    started: list[StudyTask] = []

    def command(self: StudyTask) -> list[str]:
        started.append(self)
        return [sys.executable, "-c", code]

    monkeypatch.setattr(StudyTask, "command", command)
    monkeypatch.setattr(study_starter, "PATIENCE", 30.0)
    return started


async def test_the_users_own_study_goes_on_with_what_was_allowed(
    show: Show, make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = StudyTask(recipe="a.toml", seeds=(0,), trust=True, imports=("own",))
    folder = make_study([("sat", 0, None)], task=task)
    started = script(monkeypatch, "print('went on')")
    async with show() as pilot:
        await pilot.press("r")
        await until(pilot, lambda: "Started: a-table3-1234" in told(pilot.app))
        await pilot.app.workers.wait_for_complete()
        assert started == [task]
        assert folder.log_path.read_text() == "went on\n"
        await until(pilot, lambda: "went on" in detail(pilot))


async def test_somebody_elses_study_is_asked_about_and_trusted_with_nothing(
    show: Show, make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = StudyTask(recipe="a.toml", seeds=(0,), trust=True, imports=("own",))
    make_study([("sat", 0, None)], task=task, own=False)
    async with show((120, 40)) as pilot:
        await pilot.press("r")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmScreen))
        text = " ".join(screen_text(pilot).replace("│", " ").split())
        assert "not from you on this computer" in text
        assert "python -m kmtard.study a.toml --seeds 0 " in text
        assert "--trust" not in text and "--import" not in text
        await pilot.press("n")
        started = script(monkeypatch, "")
        await pilot.press("r")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmScreen))
        started.clear()
        await pilot.press("y")
        await until(pilot, lambda: "Started" in told(pilot.app))
        await pilot.app.workers.wait_for_complete()
        assert started == [task.without_grants()]


async def test_a_study_that_fails_at_once_says_why(
    show: Show, make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_study([("sat", 0, None)])
    script(monkeypatch, "import sys; sys.exit('a.toml: [b]no such file[/b]')")
    async with show() as pilot:
        await pilot.press("r")
        await until(pilot, lambda: "has failed:" in told(pilot.app))
        assert "a.toml: [b]no such file[/b]" in told(pilot.app)


async def test_a_record_without_a_command_or_damaged_is_said(
    show: Show, make_study: MakeStudy
) -> None:
    folder = make_study([("sat", 0, None)])
    folder.write(replace(folder.read(), task=None))
    async with show() as pilot:
        await pilot.press("r")
        await until(pilot, lambda: "has no command" in told(pilot.app))
        (folder.path / "study.json").write_text(json.dumps({"schema": 1}))
        await until(pilot, lambda: table(pilot).lines[0].state == "damaged")
        await until(pilot, lambda: "Expected the record of a study" in detail(pilot))
        await pilot.press("r", "R", "ctrl+k", "enter")
        assert len(pilot.app.screen_stack) == 1


@pytest.mark.parametrize("size", SIZES)
async def test_the_report_of_a_study_is_shown_exported_and_written(
    show: Show, study: Path, tmp_path: Path, size: tuple[int, int]
) -> None:
    async with show(size) as pilot:
        await pilot.press("R")
        assert isinstance(pilot.app.screen, StudyReportScreen)
        found = pilot.app.screen.query_one("#settings", TextTable)
        await until(pilot, lambda: found.shown.rows)
        await pilot.pause()
        text = screen_text(pilot)
        assert "Report  a-table3-1234  2 of 4 runs finished" in text
        assert "37.50 ± 3.54" in " ".join(found.shown.rows[0])
        notes = str(pilot.app.screen.query_one("#notes", Static).content)
        assert "mean ± standard deviation over the seeds" in notes
        assert "python -m kmtard.report" in notes
        await pilot.press("x")
        assert isinstance(pilot.app.screen, ExportScreen)
        await pilot.press("escape", "y")
        assert f"{study} --html {study}/report.html" in pilot.app.clipboard
        if size == (80, 24):
            await pilot.press("h")
            await until(pilot, lambda: "Written: " in told(pilot.app))
            assert "<html" in (study / "report.html").read_text()


async def test_a_report_of_nothing_says_so(
    show: Show, make_study: MakeStudy, make_run: Callable[..., Run]
) -> None:
    folder = make_study([("sat", 0, make_run("one").path), ("sat", 1, None)])
    async with show() as pilot:
        await pilot.press("R")
        screen = pilot.app.screen
        assert isinstance(screen, StudyReportScreen)
        await until(pilot, lambda: "None of its runs" in screen_text(pilot))
        assert "it has no evaluation.json" in screen_text(pilot)
        assert screen.unavailable("export") and screen.unavailable("page")
        (folder.path / "study.json").write_text("")
        await until(pilot, lambda: "Expected the record" in screen_text(pilot))
