"""What the keys do to a run, as its state allows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from textual.app import ComposeResult
from textual.pilot import Pilot
from textual.widgets import Footer, Input

from kmtard.runs import Run
from kmtard.runs.queue.queue import Queue
from kmtard.runs.queue.task import Task
from launcher.app import LauncherApp
from launcher.bindings import bindings
from launcher.screens.ask import AskScreen
from launcher.screens.confirm import ConfirmScreen
from launcher.screens.evaluate import EvaluateScreen
from launcher.screens.report import ReportScreen
from launcher.screens.run_actions import RunActions
from launcher.settings import Settings
from tests.launcher.engine_fixtures import start_run, told
from tests.launcher.engine_fixtures import until as wait_until
from tests.launcher.pilots import screen_text, until

MakeRun = Callable[..., Run]


class OneRun(RunActions):
    """A screen with one run, or none."""

    BINDINGS = bindings("run")

    def __init__(self, run: Run | None) -> None:
        super().__init__()
        self.shown = run
        self.moved: list[tuple[Path, Path | None]] = []

    def compose(self) -> ComposeResult:
        yield Footer()

    def selected_run(self) -> Run | None:
        return self.shown

    def on_run_actions_moved(self, message: RunActions.Moved) -> None:
        self.moved.append((message.old, message.new))


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LauncherApp]:
    # What is queued here shall not start.
    monkeypatch.setattr(Queue, "ensure_runner", lambda queue: None)
    EvaluateScreen.chosen.clear()
    EvaluateScreen.chosen.update({"fgsm", "pgd_trades"})
    yield LauncherApp(tmp_path / "runs", settings=Settings(tmp_path / "launch.json"))
    AskScreen.typed.clear()


async def show(pilot: Pilot[None], run: Run | None) -> OneRun:
    screen = OneRun(run)
    await pilot.app.push_screen(screen)
    await pilot.pause()
    return screen


def commands(app: LauncherApp) -> list[list[str]]:
    return [entry.command[1:] for entry in app.queue.entries()]


async def refused(pilot: Pilot[None], key: str, reason: str) -> None:
    await pilot.press(key)
    await until(pilot, lambda: reason in told(pilot.app))


@pytest.mark.asyncio
async def test_stop_and_the_second_time_kill(app: LauncherApp) -> None:
    run, process = start_run(app.runs_dir, end="deaf")
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await show(pilot, run)
        await pilot.press("k", "K")
        await pilot.pause()
        assert app.screen is screen  # keys that one hits by habit
        await pilot.press("ctrl+k")
        await until(pilot, lambda: "Stop r?" in screen_text(pilot))
        await pilot.press("y")
        await until(pilot, lambda: "is stopping" in told(app))
        await pilot.press("ctrl+k")
        await until(pilot, lambda: "Kill r?" in screen_text(pilot))
        await pilot.press("n")
        await until(pilot, lambda: app.screen is screen)
        assert process.poll() is None
        await pilot.press("ctrl+k")
        await until(pilot, lambda: "Kill r?" in screen_text(pilot))
        await pilot.press("y")
        await until(pilot, lambda: "was killed" in told(app))
    assert process.wait(30) == -9
    process.communicate()


@pytest.mark.asyncio
async def test_a_run_is_stopped_after_one_question(app: LauncherApp) -> None:
    run, process = start_run(app.runs_dir)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await show(pilot, run)
        await pilot.press("ctrl+k")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("n")
        await until(pilot, lambda: app.screen is screen)
        assert process.poll() is None
        await pilot.press("ctrl+k")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("y")
        await until(pilot, lambda: process.poll() == 0)
    assert run.state() == "stopped"
    process.communicate()


@pytest.mark.asyncio
@pytest.mark.parametrize("state", ["stopped", "failed", "crashed"])
async def test_resume_is_queued_once(
    app: LauncherApp, make_run: MakeRun, state: str
) -> None:
    run = make_run("a", state=state)
    async with app.run_test(size=(80, 24)) as pilot:
        await show(pilot, run)
        await pilot.press("r")
        await until(pilot, lambda: commands(app))
        await refused(pilot, "r", "is already in the queue")
    assert commands(app) == [["-m", "kmtard.fit", "--resume", str(run.path)]]
    (entry,) = app.queue.entries()
    assert (entry.backend, entry.run) == ("jax", str(run.path))


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("state", "key", "reason"),
    [
        ("running", "e", "a is running"),
        ("running", "delete", "a is running: stop it first"),
        ("running", "f6", "a is running: stop it first"),
        ("remote", "ctrl+k", "a is on elsewhere: watch only"),
        ("remote", "r", "a is on elsewhere: watch only"),
        ("remote", "e", "a is on elsewhere: watch only"),
        ("remote", "delete", "a is on elsewhere: watch only"),
        ("remote", "f6", "a is on elsewhere: watch only"),
        ("stopped", "e", "has no student to evaluate yet"),
    ],
)
async def test_what_cannot_be_done_is_said(
    app: LauncherApp, make_run: MakeRun, state: str, key: str, reason: str
) -> None:
    run = make_run("a", state=state)
    async with app.run_test(size=(80, 24)) as pilot:
        await show(pilot, run)
        await refused(pilot, key, reason)
    assert commands(app) == []
    assert run.path.is_dir()


@pytest.mark.asyncio
async def test_a_run_is_resumed_with_what_the_user_allowed_for_it(
    app: LauncherApp, make_run: MakeRun
) -> None:
    run = make_run("a", state="stopped")
    task = Task.fit("a.toml", trust=True, imports=["own_parts"])
    entry = app.queue.add(task, "a", "jax")
    with app.queue.change() as content:
        content.update(entry.id, run=str(run.path), state="cancelled")
    async with app.run_test(size=(80, 24)) as pilot:
        await show(pilot, run)
        await pilot.press("r")
        await until(pilot, lambda: len(app.queue.entries()) == 2)
    allowed = ["--import", "own_parts", "--trust"]
    assert app.queue.entries()[1].command[1:] == [
        *["-m", "kmtard.fit", "--resume", str(run.path), *allowed]
    ]


@pytest.mark.asyncio
async def test_a_run_without_an_owner_is_resumed_by_hand(
    app: LauncherApp, make_run: MakeRun
) -> None:
    run = make_run("a", state="running")
    run.info_path.write_text("damaged")
    async with app.run_test(size=(80, 24)) as pilot:
        await show(pilot, run)
        await refused(pilot, "r", "python -m kmtard.fit --resume")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("state", "offered", "hidden"),
    [
        ("running", "stop_run", "resume_run"),
        ("stopped", "resume_run", "stop_run"),
        ("finished", "evaluate_run", "resume_run"),
        ("remote", "stop_run", None),
    ],
)
async def test_the_state_decides_what_is_offered(
    app: LauncherApp,
    make_run: MakeRun,
    state: str,
    offered: str,
    hidden: str | None,
) -> None:
    run = make_run("a", state=state)
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await show(pilot, run)

        def actions() -> set[str]:
            active = screen.active_bindings.values()
            return {each.binding.action for each in active if each.enabled}

        await until(pilot, lambda: offered in actions() and hidden not in actions())


@pytest.mark.asyncio
async def test_without_a_run_nothing_is_offered(app: LauncherApp) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await show(pilot, None)
        await pilot.press("ctrl+k", "r", "e", "R", "delete", "f6")
        await pilot.pause()
        assert app.screen is screen


@pytest.mark.asyncio
async def test_chosen_attacks_are_queued(app: LauncherApp, make_run: MakeRun) -> None:
    run = make_run("a")
    (run.best / "student.keras").touch()
    async with app.run_test(size=(80, 24)) as pilot:
        await show(pilot, run)
        await pilot.press("e")
        await until(pilot, lambda: isinstance(app.screen, EvaluateScreen))
        await pilot.press("down", "space", "enter")  # not fgsm
        await until(pilot, lambda: commands(app))
    wanted = ["-m", "kmtard.evaluate", str(run.path), "--attacks", "pgd_trades"]
    assert commands(app) == [wanted]


@pytest.mark.asyncio
async def test_a_deleted_run_is_brought_back(
    app: LauncherApp, make_run: MakeRun
) -> None:
    run = make_run("[b]a")
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await show(pilot, run)
        await pilot.press("delete")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("y")
        await until(pilot, lambda: not run.path.exists())
        await until(pilot, lambda: screen.moved == [(run.path, None)])
        await pilot.press("u")
        await until(pilot, run.path.exists)
        await refused(pilot, "u", "The trash is empty")


@pytest.mark.asyncio
async def test_a_run_is_renamed_when_the_name_will_do(
    app: LauncherApp, make_run: MakeRun
) -> None:
    run = make_run("a")
    make_run("b")
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await show(pilot, run)
        await pilot.press("f6")
        await until(pilot, lambda: isinstance(app.screen, AskScreen))
        field = app.screen.query_one(Input)
        for text, reason in (
            ("a", "That is its name"),
            ("b", "a run b already"),
            ("../c", "such as c"),
        ):
            field.value = text
            await until(pilot, lambda reason=reason: reason in screen_text(pilot))  # type: ignore[misc]
            await pilot.press("enter")
        field.value = "c"
        await pilot.press("enter")
        await until(pilot, lambda: screen.moved)
    assert screen.moved == [(run.path, run.path.with_name("c"))]
    assert Run.open(run.path.with_name("c")).state() == "finished"


@pytest.mark.asyncio
async def test_the_report_is_opened(app: LauncherApp, make_run: MakeRun) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await show(pilot, make_run("a"))
        await pilot.press("R")
        await until(pilot, lambda: isinstance(app.screen, ReportScreen))


@pytest.mark.asyncio
async def test_a_process_that_vanishes_is_said(app: LauncherApp) -> None:
    run, process = start_run(app.runs_dir)
    async with app.run_test(size=(80, 24)) as pilot:
        await show(pilot, run)
        process.kill()
        process.communicate()
        wait_until(lambda: run.state() == "crashed")
        await refused(pilot, "ctrl+k", "has crashed")
    assert json.loads(run.info_path.read_text())["pid"] == process.pid
