"""The queue on the screen: what is told, and what its keys do."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from kmtard.runs import Run
from kmtard.runs.queue.queue import Queue
from kmtard.runs.queue.task import Task
from launcher.app import LauncherApp
from launcher.screens.confirm import ConfirmScreen
from launcher.screens.queue import QueueScreen
from launcher.settings import Settings
from tests.launcher.engine_fixtures import program, programs, run_program, told
from tests.launcher.engine_fixtures import until as wait_until
from tests.launcher.pilots import screen_text, until

__all__ = ["programs"]

ensure_runner = Queue.ensure_runner
SIZES = [(120, 36), (80, 24), (60, 16), (40, 10)]


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LauncherApp]:
    # The app sees to it that what waits is started; here it shall wait.
    monkeypatch.setattr(Queue, "ensure_runner", Queue.refuse_elsewhere)
    app = LauncherApp(tmp_path / "runs", settings=Settings(tmp_path / "launch.json"))
    yield app
    runner = app.queue.runner()
    if runner is not None and runner.is_alive:
        os.kill(runner.pid, signal.SIGKILL)
        wait_until(lambda: not app.queue.runner_alive())
    for entry in app.queue.entries():
        if entry.is_alive:
            app.queue.kill(entry.id)


async def open_queue(pilot: Pilot[None]) -> QueueScreen:
    await pilot.press("3")
    await until(pilot, lambda: isinstance(pilot.app.screen, QueueScreen))
    screen = pilot.app.screen
    assert isinstance(screen, QueueScreen)
    await until(pilot, lambda: "Reading" not in screen_text(pilot))
    return screen


def add(queue: Queue, *titles: str) -> None:
    for title in titles:
        queue.add(Task.fit(f"{title}.toml"), title, "jax")


def titles(queue: Queue) -> list[str]:
    return [entry.title for entry in queue.entries()]


def set_state(queue: Queue, title: str, **changes: Any) -> None:
    with queue.change() as content:
        for entry in content.entries:
            if entry.title == title:
                content.update(entry.id, **changes)


@pytest.mark.asyncio
@pytest.mark.parametrize("size", SIZES)
async def test_an_empty_queue_says_what_to_do(
    app: LauncherApp, size: tuple[int, int]
) -> None:
    async with app.run_test(size=size) as pilot:
        await open_queue(pilot)
        assert "Nothing is queued. Press 2" in " ".join(screen_text(pilot).split())


@pytest.mark.asyncio
@pytest.mark.parametrize("size", SIZES)
async def test_entries_are_listed_as_they_are(
    app: LauncherApp, size: tuple[int, int]
) -> None:
    async with app.run_test(size=size) as pilot:
        add(app.queue, "[b]a[/b] 実験", "b\x1b[31m")
        set_state(app.queue, "b\x1b[31m", state="failed", exit_code=2)
        await open_queue(pilot)
        await until(pilot, lambda: "waiting" in screen_text(pilot))
        text = screen_text(pilot)
        assert "[b]a[/b] 実験" in text and "✗ failed" in text and "\x1b" not in text
        if size[1] > 16:
            assert "python -m kmtard.fit" in text and "jax" in text
            await pilot.press("down")
            await until(pilot, lambda: "exit code 2" in screen_text(pilot))


@pytest.mark.asyncio
async def test_it_can_be_resized_at_any_time(app: LauncherApp) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        add(app.queue, *"abcdefghijklmnopqrstuvw")
        screen = await open_queue(pilot)
        await until(pilot, lambda: screen.table.row_count == 23)
        for size in [(20, 5), *SIZES, (1, 1), (80, 24)]:
            await pilot.resize_terminal(*size)
            await pilot.pause()
        assert "limit 1 · 23 waiting" in screen_text(pilot)


@pytest.mark.asyncio
async def test_keys_change_order_limit_and_content(app: LauncherApp) -> None:
    queue = app.queue
    async with app.run_test(size=(80, 24)) as pilot:
        add(queue, "a", "b", "c", "old")
        set_state(queue, "old", state="finished")
        screen = await open_queue(pilot)
        await until(pilot, lambda: screen.table.row_count == 4)
        await pilot.press("shift+down")
        await until(pilot, lambda: titles(queue) == ["b", "a", "c", "old"])
        await until(pilot, lambda: screen.table.cursor_row == 1)
        await pilot.press("K")
        await until(pilot, lambda: titles(queue) == ["a", "b", "c", "old"])
        await pilot.press("plus", "plus")
        await until(pilot, lambda: queue.limit == 3)
        await until(pilot, lambda: "limit 3" in screen_text(pilot))
        await pilot.press("minus")
        await until(pilot, lambda: queue.limit == 2)
        await pilot.press("c")
        await until(pilot, lambda: "Remove 1 that ended?" in screen_text(pilot))
        await pilot.press("y")
        await until(pilot, lambda: titles(queue) == ["a", "b", "c"])
        await until(pilot, lambda: screen.table.row_count == 3)
        selected = screen.table.selected
        assert selected is not None
        await pilot.press("delete")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("n")
        await until(pilot, lambda: app.screen is screen)
        assert selected.title in titles(queue)
        await pilot.press("D")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("y")
        await until(pilot, lambda: selected.title not in titles(queue))


@pytest.mark.asyncio
async def test_the_command_line_is_copied_as_it_is_typed(app: LauncherApp) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        app.queue.add(Task.fit("my [b].toml"), "a", "jax")
        screen = await open_queue(pilot)
        await until(pilot, lambda: screen.table.row_count == 1)
        await pilot.press("y")
        await pilot.pause()
        assert app.clipboard == "python -m kmtard.fit 'my [b].toml'"


@pytest.mark.asyncio
async def test_a_copied_command_goes_to_its_folder(
    app: LauncherApp, tmp_path: Path
) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        app.queue.add(Task.fit("a.toml"), "a", "jax", str(tmp_path / "my recipes"))
        screen = await open_queue(pilot)
        await until(pilot, lambda: screen.table.row_count == 1)
        await pilot.press("y")
        await pilot.pause()
        folder = f"'{tmp_path}/my recipes'"
        assert app.clipboard == f"cd {folder} && python -m kmtard.fit a.toml"


@pytest.mark.asyncio
async def test_a_runner_that_is_missing_is_said_and_can_be_started(
    app: LauncherApp, tmp_path: Path, programs: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_queue(pilot)
        assert "nothing to do" in screen_text(pilot)
        app.queue.add(program(tmp_path, "print('it ran')"), "a", "jax")
        await until(pilot, lambda: "not started: press s" in screen_text(pilot))
        monkeypatch.setattr(Queue, "ensure_runner", ensure_runner)
        await pilot.press("s")
        await until(pilot, lambda: "✓ finished" in screen_text(pilot))
        await until(pilot, lambda: "it ran" in screen_text(pilot))
        await pilot.press("a")
        await until(pilot, lambda: screen.table.row_count == 2)
        await until(
            pilot, lambda: all(e.state == "finished" for e in app.queue.entries())
        )


@pytest.mark.asyncio
async def test_what_runs_is_stopped_then_killed_after_a_question(
    app: LauncherApp, programs: None
) -> None:
    queue = app.queue
    queue.add(run_program(queue.runs_dir, "r", "deaf"), "a", "jax")
    ensure_runner(queue)
    wait_until(lambda: queue.entries()[0].run)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_queue(pilot)
        await until(pilot, lambda: screen.table.row_count == 1)
        await until(pilot, lambda: "▶ running" in screen_text(pilot))
        await pilot.press("ctrl+k")
        await until(pilot, lambda: "Stop a?" in screen_text(pilot))
        await pilot.press("y")
        await until(pilot, lambda: queue.entries()[0].stopping)
        await until(pilot, lambda: "▶ stopping" in screen_text(pilot))
        await pilot.press("ctrl+k")
        await until(pilot, lambda: "Kill a?" in screen_text(pilot))
        assert queue.entries()[0].is_alive
        await pilot.press("y")
        await until(pilot, lambda: queue.entries()[0].state == "cancelled")
        # The word of the list of runs.
        await until(pilot, lambda: "■ stopped" in screen_text(pilot))
    assert Run(queue.runs_dir / "r").state() == "crashed"


@pytest.mark.asyncio
async def test_enter_opens_the_run_or_says_why_not(
    app: LauncherApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []
    monkeypatch.setattr(app, "open_run", opened.append)
    run = app.runs_dir / "r"
    async with app.run_test(size=(80, 24)) as pilot:
        add(app.queue, "a")
        screen = await open_queue(pilot)
        await until(pilot, lambda: screen.table.row_count == 1)
        await pilot.press("enter")
        await until(pilot, lambda: "There is no run yet" in told(app))
        set_state(app.queue, "a", run=str(run))
        await until(pilot, lambda: screen.table.selected.run)  # type: ignore[union-attr]
        await pilot.press("enter")
        await until(pilot, lambda: "no longer exists" in told(app))
        run.mkdir()
        await pilot.press("enter")
        await until(pilot, lambda: opened == [run])


@pytest.mark.asyncio
async def test_troubles_of_the_disk_are_said(
    app: LauncherApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    async with app.run_test(size=(80, 24)) as pilot:
        add(app.queue, "a")
        screen = await open_queue(pilot)
        await until(pilot, lambda: screen.table.row_count == 1)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            await pilot.press("plus")
            await until(pilot, lambda: "No space left" in told(app))
        assert app.queue.limit == 1
        (app.queue.folder / "queue.json").write_text("damaged")
        await until(pilot, lambda: "This file was not a queue" in screen_text(pilot))


@pytest.mark.asyncio
async def test_what_runs_on_another_host_is_watched_only(app: LauncherApp) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        add(app.queue, "a")
        set_state(app.queue, "a", state="running", host="elsewhere", pid=1)
        screen = await open_queue(pilot)
        await until(pilot, lambda: "on elsewhere: watch only" in screen_text(pilot))
        await pilot.press("s")
        await until(pilot, lambda: "a runs on elsewhere" in told(app))
        await pilot.press("delete")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("y")
        await until(pilot, lambda: screen.table.row_count == 0)


def foreign(app: LauncherApp, *commands: list[str]) -> None:
    """Put a queue of version 0.1 into the folder, as an archive would bring it."""
    entry = {
        **{"title": "digits", "cwd": str(app.runs_dir.parent), "backend": "jax"},
        **{"added": 1.0, "state": "waiting", "stopping": False},
        **dict.fromkeys(("host", "pid", "process_start", "started", "ended")),
        **dict.fromkeys(("exit_code", "run")),
    }
    entries = [
        {**entry, "id": f"e{number}", "argv": command}
        for number, command in enumerate(commands)
    ]
    app.queue.folder.mkdir(parents=True)
    content = json.dumps({"limit": 1, "entries": entries})
    (app.queue.folder / "queue.json").write_text(content)


@pytest.mark.asyncio
async def test_a_queue_of_somebody_else_starts_only_after_a_question(
    app: LauncherApp,
    tmp_path: Path,
    programs: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Queue, "ensure_runner", ensure_runner)
    ours = program(tmp_path, f"open({str(tmp_path / 'ours')!r}, 'w').close()")
    theirs = ["/bin/sh", "-c", f"touch '{tmp_path}/theirs'"]
    foreign(app, theirs, ours.command())
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: "press 3, then s" in told(app))
        await open_queue(pilot)
        await until(pilot, lambda: "2 to confirm: press s" in screen_text(pilot))
        await pilot.press("s")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        text = screen_text(pilot)
        assert "never starts: /bin/sh -c" in text and "kmtard.fit" in text
        await pilot.press("n")
        await pilot.pause()
        assert not app.queue.runner_alive()
        assert len(app.queue.unconfirmed()) == 2
        assert not (tmp_path / "ours").exists()
        await until(pilot, lambda: isinstance(app.screen, QueueScreen))
        await pilot.press("s")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("y")
        await until(pilot, (tmp_path / "ours").exists)
        await until(pilot, lambda: "✓ finished" in screen_text(pilot))
    assert [entry.state for entry in app.queue.entries()] == ["failed", "finished"]
    assert not (tmp_path / "theirs").exists()


@pytest.mark.asyncio
async def test_what_somebody_else_ran_is_not_run_again_without_a_question(
    app: LauncherApp,
) -> None:
    foreign(app, Task.fit("a.toml").command(), ["/bin/sh", "-c", "true"])
    set_state(app.queue, "digits", state="finished")
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_queue(pilot)
        await until(pilot, lambda: screen.table.row_count == 2)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, QueueScreen))
        await pilot.press("down", "a")
        await until(pilot, lambda: "not one of kmtard's own" in told(app))
    assert [entry.state for entry in app.queue.entries()] == ["finished"] * 2
