"""The dialog for a study, on the screen of the recipes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Select, SelectionList, Static, Switch

from kmtard.runs.study_task import StudyTask
from launcher.screens import sweep as sweep_module
from launcher.screens.help import HelpScreen
from launcher.screens.sweep import SweepScreen
from tests.launcher.engine_fixtures import told
from tests.launcher.pilots import screen_text
from tests.launcher.recipes_fixtures import folder, new_app, settled, until, write

__all__ = ["folder"]
pytestmark = pytest.mark.asyncio

SIZES = [(120, 40), (80, 24)]

# What `kmtard study --dry-run --json` writes, with the words of its command line.
PLAN = """
import json, sys
words = sys.argv[1:]
if "--on" in words:
    sys.exit("SLURM does not [b]answer[/b]")
cells = [{"name": str(n), "state": "new"} for n in range(len(words))]
print(json.dumps({"study": "digits-study-1a2b", "cells": cells}), flush=True)
measured = "--dry-run=measure" in words
lines = ["Runs to do: many", "Disk: about 3 MB", "Time: " + ("2h" if measured else "?")]
print(json.dumps({"left": 1, "lines": lines}), flush=True)
"""


@pytest.fixture(autouse=True)
def planned(monkeypatch: pytest.MonkeyPatch) -> list[StudyTask]:
    """Plan without Keras, and return what was planned."""
    asked: list[StudyTask] = []

    def command(task: StudyTask, *, measure: bool = False) -> list[str]:
        asked.append(task)
        option = "--dry-run=measure" if measure else "--dry-run"
        return [sys.executable, "-c", PLAN, *task.command()[3:], option]

    monkeypatch.setattr(sweep_module, "plan_command", command)
    monkeypatch.setattr(sweep_module, "PLAN_AFTER", 0.05)
    return asked


def dialog(pilot: Pilot[None]) -> SweepScreen:
    screen = pilot.app.screen
    assert isinstance(screen, SweepScreen)
    return screen


def needs(pilot: Pilot[None]) -> str:
    return str(dialog(pilot).query_one("#needs", Static).render())


def command(pilot: Pilot[None]) -> str:
    return str(dialog(pilot).query_one("#command", Static).render())


async def opened(pilot: Pilot[None]) -> SweepScreen:
    """Open the dialog of the chosen recipe, and wait for its plan."""
    await settled(pilot)
    await pilot.press("t")
    await until(pilot, lambda: isinstance(pilot.app.screen, SweepScreen))
    # "Disk and time: ..." stands there while the plan is made.
    await until(pilot, lambda: "Disk: " in screen_text(pilot))
    return dialog(pilot)


@pytest.mark.parametrize("size", SIZES)
async def test_methods_and_seeds_are_ticked_by_keys(
    folder: Path, size: tuple[int, int]
) -> None:
    async with new_app(folder).run_test(size=size) as pilot:
        screen = await opened(pilot)
        text = screen_text(pilot)
        assert "Study of digits" in text and "Methods" in text and "Seeds" in text
        assert "Disk: about 3 MB" in text and "F9 Start" in text.replace("f9", "F9")
        assert command(pilot) == "python -m kmtard.study digits.toml"
        methods = screen.query_one("#methods", SelectionList)
        assert methods.selected == ["b_mtard"]
        assert screen.query_one("#seeds", SelectionList).selected == [0]
        await pilot.press("j", "space", "tab", "down", "space", "j", "space")
        assert len(methods.selected) == 2
        second = methods.get_option_at_index(1).value
        words = f"digits.toml --methods b_mtard,{second} --seeds 0,1,2"
        assert command(pilot).endswith(words)
        await until(pilot, lambda: "6 runs" in needs(pilot))
        # Back to what the study has itself: the shortest command.
        await pilot.press("space", "k", "space", "shift+tab", "space")
        assert command(pilot) == "python -m kmtard.study digits.toml"
        await pilot.press("f7")
        assert command(pilot).endswith("digits.toml --smoke")
        await pilot.press("f8")
        assert pilot.app.clipboard == "python -m kmtard.study digits.toml --smoke"
        await pilot.press("escape")
        assert not isinstance(pilot.app.screen, SweepScreen)


@pytest.mark.parametrize("size", SIZES)
async def test_methods_and_seeds_are_ticked_by_the_mouse(
    folder: Path, size: tuple[int, int]
) -> None:
    async with new_app(folder).run_test(size=size) as pilot:
        screen = await opened(pilot)
        await pilot.click("#methods", offset=(5, 3))
        await pilot.click("#seeds", offset=(5, 2))
        assert len(screen.query_one("#methods", SelectionList).selected) == 2
        assert screen.query_one("#seeds", SelectionList).selected == [0, 1]
        await pilot.click("#smoke")
        assert command(pilot).endswith("--seeds 0,1 --smoke")
        await pilot.click("#slurm")
        await until(pilot, lambda: "does not [b]answer[/b]" in needs(pilot))
        assert command(pilot).endswith("--smoke --on slurm")
        started = len(pilot.app.screen_stack)
        await pilot.press("f9")
        assert len(pilot.app.screen_stack) == started


async def test_named_studies_and_the_recipes_own(folder: Path) -> None:
    path = folder / "digits.toml"
    text = path.read_text()
    study = "[study]\nmethods = ['sat', 'trades']\nseeds = [3, 4]\n"
    path.write_text(f"{text}\n{study}axes.attack.steps = [1, 2]\n")
    async with new_app(folder).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        assert "[study] of the recipe" in screen_text(pilot)
        assert "attack.steps: 1, 2" in screen_text(pilot)
        methods = screen.query_one("#methods", SelectionList)
        assert methods.selected == ["sat", "trades"]
        assert methods.get_option_at_index(0).value == "sat"
        assert screen.query_one("#seeds", SelectionList).selected == [3, 4]
        assert command(pilot) == "python -m kmtard.study digits.toml"
        screen.query_one("#study", Select).value = "beta"
        await until(pilot, lambda: command(pilot).endswith("digits.toml beta"))
        assert methods.selected == ["b_mtard"]
        assert screen.query_one("#seeds", SelectionList).selected == [0]
        assert "method.beta: 0.5, 1.0, 4.0, 10.0" in screen_text(pilot)


async def test_nothing_ticked_starts_nothing(folder: Path) -> None:
    async with new_app(folder).run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await pilot.press("space")
        await until(pilot, lambda: "Tick at least one method." in needs(pilot))
        await pilot.press("f9", "f6")
        assert isinstance(pilot.app.screen, SweepScreen)
        await pilot.press("space")
        await until(pilot, lambda: "Disk: " in needs(pilot))
        await pilot.press("tab", "space")
        await until(pilot, lambda: "Tick at least one seed." in needs(pilot))


async def test_the_time_is_measured_on_demand(folder: Path) -> None:
    async with new_app(folder).run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        assert "Time: ?" in needs(pilot)
        await pilot.press("f6")
        await until(pilot, lambda: "Time: 2h" in needs(pilot))
        # Another choice needs another measurement.
        await pilot.press("f7")
        await until(pilot, lambda: "Time: ?" in needs(pilot))


async def test_changes_in_the_form_and_the_folder_of_runs_go_along(
    folder: Path, planned: list[StudyTask]
) -> None:
    app = new_app(folder)
    app.runs_dir = folder / "my runs"
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("v")
        await write(pilot, "method.beta", "2")
        await pilot.press("f10")
        await until(pilot, lambda: isinstance(pilot.app.screen, SweepScreen))
        await until(pilot, lambda: "Disk: " in needs(pilot))
        assert planned[-1].overrides == (
            "method.beta=2",
            f"runtime.runs_dir={folder / 'my runs'}",
        )


async def test_a_wrong_recipe_opens_no_dialog(folder: Path) -> None:
    async with new_app(folder).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("v")
        await write(pilot, "method.beta", "x")
        await pilot.press("f10")
        await until(pilot, lambda: "Not started: 1 mistake." in told(pilot.app))
        assert not isinstance(pilot.app.screen, SweepScreen)


async def test_a_study_is_started_and_its_folder_is_known(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import os; print(os.getcwd()); open('begun', 'w')"
    words: list[str] = []

    def study(self: StudyTask) -> list[str]:
        words[:] = [self.recipe, *map(str, self.seeds)]
        return [sys.executable, "-c", code]

    async with new_app(folder).run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await pilot.press("tab", "down", "space")
        await until(pilot, lambda: "runs" in needs(pilot) and "Disk: " in needs(pilot))
        monkeypatch.setattr(StudyTask, "command", study)
        await pilot.press("f9")
        await until(pilot, lambda: "Started: digits-study-1a2b" in told(pilot.app))
        await until(pilot, (folder / "begun").exists)
        assert words == ["digits.toml", "0", "1"]
        log = folder / "runs" / "studies" / "digits-study-1a2b" / "out.log"
        await until(pilot, lambda: log.read_text() == f"{folder}\n")
        await pilot.app.workers.wait_for_complete()


async def test_the_dialog_has_help_and_leaves_no_process(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    async with new_app(folder).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        assert "seeds" in screen.help_text
        await pilot.press("question_mark")
        assert isinstance(pilot.app.screen, HelpScreen)
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.screen is screen)
        monkeypatch.setattr(sweep_module, "plan_command", lambda *a, **k: sleep)
        await pilot.press("f7")
        await until(pilot, lambda: screen._process is not None)
        process = screen._process
        await pilot.press("escape")
        assert process is not None
        await until(pilot, lambda: process.exit_code is not None)


@pytest.mark.parametrize("size", [(60, 16), (40, 10)])
async def test_it_can_be_used_in_a_small_terminal(
    folder: Path, size: tuple[int, int]
) -> None:
    async with new_app(folder).run_test(size=size) as pilot:
        screen = await opened(pilot)
        text = screen_text(pilot)
        assert "B-MTARD" in text or "b-mtard" in text
        assert "Disk: " in text
        await pilot.press("f7")
        assert screen.query_one("#smoke", Switch).value
