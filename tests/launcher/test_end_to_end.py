"""From a recipe to a resumed run, as a user does it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import cast

import psutil
import pytest
from textual.pilot import Pilot

from kmtard import runs
from kmtard.runs import Run
from kmtard.runs.queue.queue import Queue
from launcher.app import LauncherApp
from launcher.screens.confirm import ConfirmScreen
from launcher.screens.live import LiveScreen
from launcher.screens.recipes import RecipesScreen

PATIENCE = 240.0  # seconds: Keras alone takes ten on a busy machine
BACKEND = os.environ.get("KERAS_BACKEND", "tensorflow")


async def until(pilot: Pilot[None], condition: Callable[[], object]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, condition
        await pilot.pause(0.2)


@contextmanager
def ended_at_last(folder: Path) -> Iterator[None]:
    """End what the test has started, however it goes."""
    try:
        yield
    finally:
        for run in runs.list_runs(folder):
            if run.state() == "running":
                with suppress(ProcessLookupError):
                    os.kill(run.info()["pid"], 9)


def epochs(run: Run) -> int:
    return sum(event["event"] == "epoch" for event in run.events().poll())


def is_enabled(app: LauncherApp, key: str) -> bool:
    """Whether a key of the screen does something now."""
    binding = app.screen.active_bindings.get(key)
    return binding is not None and binding.enabled


def the_run(folder: Path) -> Run | None:
    return next(iter(runs.list_runs(folder)), None)


@pytest.fixture
def folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe_path: Path
) -> Iterator[Path]:
    """A working folder with the digits recipe; the folder of runs is in it."""
    shutil.copy(recipe_path, tmp_path / "digits.toml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_BACKEND", BACKEND)
    with ended_at_last(tmp_path / "runs"):
        yield tmp_path / "runs"


@pytest.mark.asyncio
async def test_launch_close_attach_stop_resume(folder: Path) -> None:
    app = LauncherApp(folder, recipes=[Path("digits.toml")])
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, RecipesScreen))
        screen = cast(RecipesScreen, app.screen)
        await until(pilot, screen.chosen)
        await pilot.press("f7")
        await until(pilot, lambda: screen.chosen()[1].smoke)  # type: ignore[index]
        await pilot.press("f9")
        await until(pilot, lambda: Queue(folder).entries())
        await until(pilot, lambda: the_run(folder))
        run = the_run(folder)
        assert run is not None
        app.open_run(run.path)
        await until(pilot, lambda: epochs(run) >= 1)
        live = cast(LiveScreen, app.screen)
        await until(pilot, lambda: live.history.phases)
    # Suspended, because the smoke run might end before the key is pressed.
    process = psutil.Process(run.info()["pid"])
    process.suspend()
    assert run.state() == "running"

    app = LauncherApp(folder, attach=run.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, LiveScreen))
        # Only once the state of the run has been read.
        await until(pilot, lambda: is_enabled(app, "ctrl+k"))
        await pilot.press("ctrl+k")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("y")
        await until(pilot, lambda: LiveScreen.asked_to_stop)
        process.resume()
        await until(pilot, lambda: run.state() == "stopped")
        before = epochs(run)
        await until(pilot, lambda: is_enabled(app, "r"))
        await pilot.press("r")
        await until(pilot, lambda: run.state() == "finished")
    assert epochs(run) > before
    steps = [e["step"] for e in run.events().poll() if e["event"] == "epoch"]
    assert len(steps) == 6  # two epochs of three networks, none of them twice
    assert (run.best / "student.keras").is_file()
    await_runner(folder)
    assert [entry.state for entry in Queue(folder).entries()] == [
        "cancelled",
        "finished",
    ]


def await_runner(folder: Path) -> None:
    end = time.monotonic() + PATIENCE
    while Queue(folder).runner_alive():
        assert time.monotonic() < end
        time.sleep(0.1)


class Terminal:
    """A tmux of 80x24 with the launcher in it; a server of its own."""

    def __init__(self, *arguments: object) -> None:
        self.socket = f"kmtard-{uuid.uuid4().hex}"
        command = [sys.executable, "-m", "launcher.main", *map(str, arguments)]
        self.tmux("new-session", "-d", "-s", "k", "-x", "80", "-y", "24", *command)

    def tmux(self, *arguments: str) -> str:
        command = ["tmux", "-L", self.socket, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout

    def press(self, key: str) -> None:
        self.tmux("send-keys", "-t", "k", key)

    def shows(self, text: str) -> None:
        """Wait until the screen has the text."""
        end = time.monotonic() + PATIENCE
        while text not in (screen := self.tmux("capture-pane", "-p", "-t", "k")):
            assert time.monotonic() < end, f"{text!r} is not in:\n{screen}"
            time.sleep(0.2)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(subprocess.CalledProcessError):
            self.tmux("kill-server")


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("tmux"), reason="tmux is not installed")
def test_the_same_in_a_terminal_of_80_by_24(folder: Path) -> None:
    with Terminal("--runs", folder, "--recipe", "digits.toml") as terminal:
        terminal.shows("ready")
        terminal.press("F7")
        terminal.shows("ready")
        terminal.press("F9")
        terminal.press("1")
        terminal.shows("b_mtard-s0-")
        run = the_run(folder)
        assert run is not None
        while epochs(run) < 1:
            time.sleep(0.2)
        terminal.press("C-q")
    assert run.state() == "running"
    with Terminal("--attach", run.path, "--runs", folder) as terminal:
        terminal.shows("running")
        terminal.press("C-k")
        terminal.shows("Stop (y)")
        terminal.press("y")
        terminal.shows("r Res")
        assert run.state() == "stopped"
        terminal.press("r")
        terminal.shows("finished")
    assert run.state() == "finished"
