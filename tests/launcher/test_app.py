"""What all screens have in common."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from textual.command import CommandPalette
from textual.widgets import Markdown

from kmtard.runs import Run
from launcher.actions import actions_of
from launcher.app import LauncherApp
from launcher.screens.help import HelpScreen
from launcher.screens.live import LiveScreen
from launcher.screens.queue import QueueScreen
from launcher.screens.recipes import RecipesScreen
from launcher.screens.runs import RunsScreen
from launcher.settings import Settings, config_dir, state_path
from tests.launcher.pilots import screen_text, until

SCREENS = {"1": RunsScreen, "2": RecipesScreen, "3": QueueScreen}


def write_keys(text: str) -> None:
    config_dir().mkdir(parents=True)
    (config_dir() / "keys.toml").write_text(text)


def told(app: LauncherApp) -> str:
    return " ".join(note.message for note in app._notifications)


@pytest.mark.asyncio
@pytest.mark.parametrize("size", [(120, 36), (80, 24), (60, 16), (40, 10)])
async def test_every_screen_at_every_size_has_help(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    app = LauncherApp(tmp_path / "runs")
    async with app.run_test(size=size) as pilot:
        for key, screen in SCREENS.items():
            await pilot.press(key)
            await until(pilot, lambda kind=screen: isinstance(app.screen, kind))
            await pilot.press("question_mark")
            await until(pilot, lambda: isinstance(app.screen, HelpScreen))
            assert app.screen.query_one(Markdown).source.strip()
            await pilot.press("escape")
            await until(pilot, lambda kind=screen: isinstance(app.screen, kind))


@pytest.mark.asyncio
async def test_no_port_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound: list[object] = []
    monkeypatch.setattr(socket.socket, "bind", lambda self, place: bound.append(place))
    monkeypatch.setattr(socket.socket, "listen", lambda self, *_: bound.append(self))
    process = psutil.Process()
    before = process.net_connections("inet")
    app = LauncherApp(tmp_path / "runs")
    async with app.run_test() as pilot:
        for key, screen in SCREENS.items():
            await pilot.press(key)
            await until(pilot, lambda kind=screen: isinstance(app.screen, kind))
        assert process.net_connections("inet") == before
    assert bound == []


@pytest.mark.asyncio
async def test_keys_of_the_user(tmp_path: Path) -> None:
    write_keys('"app.queue" = "f10"\n"app.nothing" = "x"\n"app.quit" = 3\n')
    app = LauncherApp(tmp_path / "runs")
    async with app.run_test() as pilot:
        await pilot.press("f10")
        await until(pilot, lambda: isinstance(app.screen, QueueScreen))
        await until(pilot, lambda: "app.nothing: no such action" in told(app))
        assert "app.quit: expected keys in quotes" in told(app)
        await pilot.press("1")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        await pilot.press("f3")
        await pilot.pause()
        assert isinstance(app.screen, RunsScreen)


@pytest.mark.asyncio
async def test_a_key_taken_from_another_action_is_told(tmp_path: Path) -> None:
    write_keys('"app.queue" = "ctrl+t"\n')
    app = LauncherApp(tmp_path / "runs")
    async with app.run_test() as pilot:
        line = "app.queue: ctrl+t is also the key of app.theme"
        await until(pilot, lambda: line in told(app))


@pytest.mark.asyncio
async def test_the_theme_lasts(tmp_path: Path) -> None:
    async with (app := LauncherApp(tmp_path / "runs")).run_test() as pilot:
        assert app.current_theme.dark
        await pilot.press("ctrl+t")
        await until(pilot, lambda: not app.current_theme.dark)
    assert Settings(state_path()).get("theme", "") == app.theme
    async with (again := LauncherApp(tmp_path / "runs")).run_test():
        assert again.theme == app.theme


@pytest.mark.asyncio
async def test_a_theme_that_is_gone_is_no_trouble(tmp_path: Path) -> None:
    Settings(state_path()).set("theme", "of another version")
    async with (app := LauncherApp(tmp_path / "runs")).run_test():
        assert app.current_theme.dark


@pytest.mark.asyncio
async def test_the_palette_has_the_actions_of_the_screen(tmp_path: Path) -> None:
    app = LauncherApp(tmp_path / "runs")
    async with app.run_test(size=(100, 40)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        labels = [action.label for action in actions_of(app.screen)]
        assert {"Filter", "Compare", "Queue", "Help"} <= set(labels)
        assert labels.index("Filter") < labels.index("Queue")
        await pilot.press("ctrl+p")
        await until(pilot, lambda: isinstance(app.screen, CommandPalette))
        await pilot.press(*"queue")
        await pilot.pause(0.5)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, QueueScreen))


@pytest.mark.asyncio
async def test_without_colour(
    make_run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    run = make_run()
    app = LauncherApp(tmp_path / "runs", attach=run.path)
    async with app.run_test(size=(80, 24)) as pilot:
        assert app.no_color
        await until(pilot, lambda: isinstance(app.screen, LiveScreen))
        await until(pilot, lambda: "W-Robust" in screen_text(app))
        text = screen_text(app)
    assert all(marker in text for marker in "●■▲")


@pytest.mark.asyncio
async def test_what_is_reported_is_text_and_nothing_else(tmp_path: Path) -> None:
    app = LauncherApp(tmp_path / "runs")
    async with app.run_test() as pilot:
        app.report("[b]file[/b]\x1b[2J is\nmissing")
        await pilot.pause()
        assert "[b]file[/b]\N{REPLACEMENT CHARACTER}[2J is\nmissing" in told(app)
