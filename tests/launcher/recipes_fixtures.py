"""The recipes screen alone, in a folder of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Static

from kmtard.runs.queue.queue import Queue
from launcher import app as app_module
from launcher.app import LauncherApp
from launcher.recipes import recipe_files
from launcher.screens.recipes import RecipesScreen
from launcher.settings import Settings
from launcher.widgets.field_row import FieldRow
from launcher.widgets.mistakes import Mistakes
from launcher.widgets.recipe_list import RecipeList

DIGITS = Path(__file__).parents[2] / "recipes" / "digits.toml"


class RecipesApp(LauncherApp):
    """The user interface, begun at the recipes."""

    CSS_PATH = Path(app_module.__file__).with_name("launcher.tcss")
    DEFAULT_MODE = "recipes"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a working folder with two recipes; no others are found."""
    working = tmp_path / "working"
    working.mkdir()
    text = DIGITS.read_text()
    (working / "digits.toml").write_text(text)
    (working / "other.toml").write_text(text.replace("epochs = 20", "epochs = 30"))
    monkeypatch.chdir(working)
    monkeypatch.setattr(recipe_files, "shipped_folder", lambda: tmp_path / "none")
    monkeypatch.setattr(Queue, "ensure_runner", lambda self: None)
    return working


def new_app(folder: Path) -> RecipesApp:
    """Return the app whose runs are where the recipes put them."""
    return RecipesApp(folder / "runs", settings=Settings(folder / "launch.json"))


async def until(
    pilot: Pilot[None], condition: Callable[[], bool], seconds: float = 60
) -> None:
    """Let the app go on until something holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        await pilot.pause()
        await asyncio.sleep(0.01)


def screen_of(pilot: Pilot[None]) -> RecipesScreen:
    """Return the screen of the recipes, whatever covers it."""
    return next(
        screen for screen in pilot.app.screen_stack if isinstance(screen, RecipesScreen)
    )


async def settled(pilot: Pilot[None]) -> RecipesScreen:
    """Wait until all that was written is checked and shown."""
    screen = screen_of(pilot)

    def is_shown() -> bool:
        checked = screen._checked
        if checked is None or screen.chosen() != (checked.file, checked.draft):
            return False
        return not screen._views.form.disabled

    await until(pilot, is_shown)
    await pilot.pause()
    return screen


def rows(screen: RecipesScreen) -> dict[str, FieldRow]:
    """Return the rows that are there, by key."""
    return {row.field.key: row for row in screen.query(FieldRow)}


async def write(pilot: Pilot[None], key: str, text: str) -> None:
    """Put a text into a field, as the user would with the keyboard."""
    editor = rows(screen_of(pilot))[key].editor
    assert isinstance(editor, Input)
    editor.focus()
    await pilot.pause()
    await pilot.press("end", "ctrl+u", *text)


async def choose(pilot: Pilot[None], name: str) -> RecipesScreen:
    """Choose a recipe by its name."""
    screen = screen_of(pilot)
    listed = screen.query_one(RecipeList)
    paths = [Path(option.id or "").name for option in listed.options]
    listed.highlighted = paths.index(name)
    await until(pilot, lambda: screen._path is not None and screen._path.name == name)
    return await settled(pilot)


def command(screen: RecipesScreen) -> str:
    """Return the command line as it is shown."""
    return str(screen.query_one("#line", Static).render())


def mistakes(screen: RecipesScreen) -> str:
    """Return the mistakes above the views."""
    return str(screen.query_one(Mistakes).query_one(Static).render())
