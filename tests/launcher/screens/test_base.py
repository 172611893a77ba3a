"""Keys that mean the same on every screen, and how help and palette list them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.binding import Binding
from textual.command import CommandPalette
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import DataTable, OptionList

from kmtard.runs import Run
from kmtard.runs.queue.queue import Queue
from kmtard.runs.queue.task import Task
from launcher.actions import actions_of
from launcher.app import LauncherApp
from launcher.recipes import recipe_files
from launcher.screens.ask import AskScreen
from launcher.screens.base import HELP_FOLDER, LauncherScreen
from launcher.screens.compare import CompareScreen
from launcher.screens.confirm import ConfirmScreen
from launcher.screens.curves import ColumnsScreen, CurvesScreen
from launcher.screens.dry_run import DryRunScreen
from launcher.screens.evaluate import EvaluateScreen
from launcher.screens.export import ExportScreen
from launcher.screens.help import HelpScreen
from launcher.screens.live import LiveScreen
from launcher.screens.queue import QueueScreen
from launcher.screens.recipes import RecipesScreen
from launcher.screens.report import ReportScreen
from launcher.screens.robustness import RobustnessScreen
from launcher.screens.runs import RunsScreen
from launcher.screens.study_report import StudyReportScreen
from launcher.screens.sweep import SweepScreen
from launcher.widgets.log_pane import LogPane
from launcher.widgets.recipe_list import RecipeList
from tests.launcher.engine_fixtures import told
from tests.launcher.pilots import screen_text, until

pytestmark = pytest.mark.asyncio
SCREENS = [
    *(AskScreen, ColumnsScreen, CompareScreen, ConfirmScreen, CurvesScreen),
    DryRunScreen,
    *(EvaluateScreen, ExportScreen, HelpScreen, LiveScreen, QueueScreen),
    *(RecipesScreen, ReportScreen, RobustnessScreen, RunsScreen),
    *(StudyReportScreen, SweepScreen),
]

Show = Callable[..., "asynccontextmanager[Pilot[object]]"]


@pytest.fixture
def show(
    make_run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., object]:
    """Return what shows the list of three runs."""
    monkeypatch.setattr(Queue, "ensure_runner", lambda queue: None)
    monkeypatch.setattr(recipe_files, "shipped_folder", lambda: tmp_path / "none")
    monkeypatch.chdir(tmp_path)

    @asynccontextmanager
    async def show(size: tuple[int, int] = (80, 24)) -> AsyncIterator[Pilot[object]]:
        for name in "abc":
            make_run(name)
        app = LauncherApp(tmp_path / "runs")
        async with app.run_test(size=size) as pilot:
            await until(pilot, lambda: "finished" in screen_text(pilot))
            yield pilot

    return show


async def test_every_page_of_help_is_of_a_screen() -> None:
    pages = {screen.PAGE for screen in SCREENS if screen is not HelpScreen}
    assert pages == {path.stem for path in HELP_FOLDER.glob("*.md")}


@pytest.mark.parametrize("screen", SCREENS)
async def test_every_key_does_something(screen: type[LauncherScreen[object]]) -> None:
    for binding in Binding.make_bindings(screen.BINDINGS):
        namespace, _, name = binding.action.partition("(")[0].rpartition(".")
        widgets = (LauncherApp, DataTable) if namespace != "screen" else ()
        owners = (screen, *widgets)
        assert any(hasattr(owner, f"action_{name}") for owner in owners), binding


async def go(pilot: Pilot[object], key: str, kind: type[Screen[object]]) -> None:
    await pilot.press(key)
    await until(pilot, lambda: isinstance(pilot.app.screen, kind))


MOVES = [("G", -1), ("k", -2), ("g", 0), ("j", 1), ("end", -1), ("home", 0)]


async def test_keys_move_in_tables(show) -> None:
    async with show() as pilot:
        table = pilot.app.screen.table
        for key, place in MOVES:
            await pilot.press(key)
            assert table.cursor_row == range(3)[place], key
        for title in "abc":
            pilot.app.queue.add(Task.fit(f"{title}.toml"), title, "jax")
        await go(pilot, "3", QueueScreen)
        table = pilot.app.screen.table
        await until(pilot, lambda: table.row_count == 3)
        for key, place in MOVES:
            await pilot.press(key)
            assert table.cursor_row == range(3)[place], key


async def test_keys_move_in_lists_and_texts(show, recipe_path, tmp_path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.toml").write_text(recipe_path.read_text())
    async with show() as pilot:
        await go(pilot, "2", RecipesScreen)
        listed = pilot.app.screen.query_one(RecipeList)
        await until(pilot, lambda: listed.option_count == 4)
        first_is_a_heading = 1
        for key, place in MOVES:
            await pilot.press(key)
            assert listed.highlighted == range(3)[place] + first_is_a_heading, key
        await go(pilot, "question_mark", HelpScreen)
        text = pilot.app.screen.query_one("#help")
        await pilot.press("j")
        await until(pilot, lambda: text.scroll_y == 1)
        await pilot.press("G")
        await until(pilot, lambda: text.scroll_y == text.max_scroll_y)


async def test_keys_move_in_the_log(show, tmp_path) -> None:
    lines = "".join(f"line {number}\n" for number in range(100))
    async with show() as pilot:
        (tmp_path / "runs/c/out.log").write_text(lines)
        await go(pilot, "enter", LiveScreen)
        await until(pilot, lambda: "line 99" in screen_text(pilot))
        log = pilot.app.screen.query_one(LogPane).text
        await pilot.press("g")
        await until(pilot, lambda: log.scroll_y == 0)
        await pilot.press("j", "j", "k")
        await until(pilot, lambda: log.scroll_y == 1)
        await pilot.press("end")
        await until(pilot, lambda: log.scroll_y == log.max_scroll_y)


@pytest.mark.parametrize("key", ["q", "escape"])
async def test_what_was_opened_is_left(show, key: str) -> None:
    async with show() as pilot:
        for opened, kind in (
            *(("enter", LiveScreen), ("R", ReportScreen)),
            *(("question_mark", HelpScreen), ("D", ConfirmScreen)),
        ):
            await go(pilot, opened, kind)
            await go(pilot, key, RunsScreen)


async def test_q_leads_to_the_runs_and_then_out(show) -> None:
    async with show() as pilot:
        await go(pilot, "3", QueueScreen)
        await go(pilot, "q", RunsScreen)
        await go(pilot, "2", RecipesScreen)
        await go(pilot, "q", RunsScreen)
        await pilot.press("q")
        await pilot.pause()
        assert pilot.app._exit


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        ("1", RunsScreen),
        ("2", RecipesScreen),
        ("3", QueueScreen),
        ("enter", LiveScreen),
        ("R", ReportScreen),
        ("question_mark", HelpScreen),
        ("D", ConfirmScreen),
        ("f6", AskScreen),
        ("x", ExportScreen),
        ("e", EvaluateScreen),
        ("ctrl+p", CommandPalette),
    ],
)
async def test_ctrl_q_quits_from_everywhere(show, tmp_path, keys, kind) -> None:
    async with show() as pilot:
        (tmp_path / "runs/c/best").mkdir(exist_ok=True)
        (tmp_path / "runs/c/best/student.keras").touch()
        await go(pilot, keys, kind)
        assert not pilot.app._exit
        await pilot.press("ctrl+q")
        await pilot.pause()
        assert pilot.app._exit


async def test_1_leads_to_the_list_from_a_run(show) -> None:
    async with show() as pilot:
        await go(pilot, "enter", LiveScreen)
        await go(pilot, "3", QueueScreen)
        await go(pilot, "1", RunsScreen)
        await go(pilot, "enter", LiveScreen)
        await go(pilot, "1", RunsScreen)


async def test_the_footer_has_what_counts_at_80_columns(show) -> None:
    async with show() as pilot:
        state = ("no run is selected", "the run is finished")
        await until(
            pilot, lambda: pilot.app.screen.unavailable("stop_run") in state[1:]
        )
        await until(pilot, lambda: "Stop" not in screen_text(pilot).splitlines()[-1])
        for keys, kind, words in (
            ("1", RunsScreen, ("Open", "Filter", "Mark", "Compare", "Evaluate")),
            ("enter", LiveScreen, ("Back", "Plot", "Curves", "Smooth", "Phase")),
            ("3", QueueScreen, ("Back", "Screens")),
            ("2", RecipesScreen, ("Launch", "View", "Smoke", "Dry run", "Save as")),
        ):
            await go(pilot, keys, kind)
            await pilot.pause()
            last = screen_text(pilot).splitlines()[-1]
            assert all(word in last for word in (*words, "? Help")), last


async def test_help_has_the_actions_of_the_screen_first_and_why_not(show) -> None:
    async with show((100, 60)) as pilot:
        known = "the run is finished"
        await until(pilot, lambda: pilot.app.screen.unavailable("resume_run") == known)
        labels = [action.label for action in actions_of(pilot.app.screen)]
        assert labels[0] == "Open"
        assert labels.index("Undelete") < labels.index("Down") < labels.index("Recipes")
        await go(pilot, "question_mark", HelpScreen)
        await until(pilot, lambda: "Resume" in screen_text(pilot))
        assert f"Resume  not now: {known}" in screen_text(pilot)


async def test_the_palette_has_them_first_too(show) -> None:
    async with show((100, 60)) as pilot:
        known = "the run is finished"
        await until(pilot, lambda: pilot.app.screen.unavailable("resume_run") == known)
        expected = [action.label for action in actions_of(pilot.app.screen)]
        await go(pilot, "ctrl+p", CommandPalette)
        listed = pilot.app.screen.query_one(OptionList)
        await until(pilot, lambda: listed.option_count > len(expected))
        shown = [option.hit.text for option in listed.options]
        assert shown[: len(expected)] == expected
        await pilot.press(*"resume")
        await until(pilot, lambda: listed.option_count == 1)
        await until(pilot, lambda: f"not now: {known}" in screen_text(pilot))
        await pilot.press("enter")
        await until(pilot, lambda: f"Resume: not now: {known}." in told(pilot.app))
