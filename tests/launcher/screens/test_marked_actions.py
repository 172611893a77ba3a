"""Actions on all marked runs, after one question."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from textual.pilot import Pilot

from kmtard.runs import Run
from kmtard.runs.notes import Notes, read_notes, write_notes
from kmtard.runs.queue.queue import Queue
from launcher.app import LauncherApp
from launcher.screens.ask import AskScreen
from launcher.screens.confirm import ConfirmScreen
from launcher.screens.evaluate import EvaluateScreen
from launcher.settings import Settings
from launcher.widgets.run_table import RunTable
from tests.launcher.engine_fixtures import start_run, told
from tests.launcher.pilots import screen_text, until

pytestmark = pytest.mark.asyncio

MakeRun = Callable[..., Run]


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LauncherApp]:
    monkeypatch.setattr(Queue, "ensure_runner", lambda queue: None)
    EvaluateScreen.chosen.clear()
    EvaluateScreen.chosen.update({"fgsm"})
    yield LauncherApp(tmp_path / "runs", settings=Settings(tmp_path / "launch.json"))
    AskScreen.typed.clear()
    EvaluateScreen.chosen.update({"fgsm", "pgd_trades"})


async def mark_all(pilot: Pilot[None], count: int) -> RunTable:
    table = pilot.app.screen.query_one(RunTable)
    await until(pilot, lambda: len(table.listed) == count)
    await pilot.press("A")
    return table


async def answer(pilot: Pilot[None], key: str, question: str) -> None:
    await pilot.press(key)
    await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmScreen))
    await until(pilot, lambda: question in screen_text(pilot))
    await pilot.press("y")


async def test_marked_runs_are_resumed_and_the_others_said(
    app: LauncherApp, make_run: MakeRun
) -> None:
    make_run("a", state="stopped")
    make_run("b", state="failed")
    make_run("c")
    async with app.run_test(size=(120, 30)) as pilot:
        await mark_all(pilot, 3)
        await answer(pilot, "r", "Resume 3 marked runs?")
        await until(pilot, lambda: "2 runs in the queue." in told(app))
        assert [entry.title for entry in app.queue.entries()] == [
            *("resume b", "resume a"),
        ]
        await until(pilot, lambda: "c" in told(app) and "finished" in told(app))


async def test_marked_runs_move_to_the_trash_but_not_one_that_runs(
    app: LauncherApp, make_run: MakeRun, tmp_path: Path
) -> None:
    make_run("a")
    make_run("b", state="running")
    async with app.run_test(size=(120, 30)) as pilot:
        table = await mark_all(pilot, 2)
        await pilot.press("delete")
        await until(pilot, lambda: "Delete 2 marked runs?" in screen_text(pilot))
        await pilot.press("n")
        assert (tmp_path / "runs" / "a").is_dir()
        await answer(pilot, "delete", "b, a. They move to")
        await until(pilot, lambda: "1 run in the trash." in told(app))
        await until(pilot, lambda: [row.name for row in table.listed] == ["b"])
        assert "b is running: stop it first." in told(app)
        assert (tmp_path / "runs" / ".trash" / "a").is_dir()


async def test_marked_runs_are_evaluated_with_the_same_attacks(
    app: LauncherApp, make_run: MakeRun
) -> None:
    for name in "ab":
        run = make_run(name)
        run.best.mkdir(exist_ok=True)
        (run.best / "student.keras").touch()
    make_run("c")
    async with app.run_test(size=(120, 30)) as pilot:
        await mark_all(pilot, 3)
        await pilot.press("e")
        await until(pilot, lambda: isinstance(app.screen, EvaluateScreen))
        await until(pilot, lambda: "Attacks on 3 marked runs" in screen_text(pilot))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("y")
        await until(pilot, lambda: "2 runs in the queue." in told(app))
        found = [entry.command[-2:] for entry in app.queue.entries()]
        assert found == [["--attacks", "fgsm"]] * 2
        assert "c has no student to evaluate yet" in told(app)


async def test_marked_runs_share_tags(app: LauncherApp, make_run: MakeRun) -> None:
    runs = [make_run(name) for name in "ab"]
    write_notes(runs[0], Notes("kept", ("both", "mine")))
    write_notes(runs[1], Notes("", ("both",)))
    async with app.run_test(size=(120, 30)) as pilot:
        await mark_all(pilot, 2)
        await pilot.press("number_sign")
        await until(pilot, lambda: "Tags of 2 marked runs" in screen_text(pilot))
        # What they share is there; it is replaced.
        await pilot.press(*["backspace"] * 4, *"new", "enter")
        await until(pilot, lambda: read_notes(runs[1]).tags == ("new",))
        assert read_notes(runs[0]) == Notes("kept", ("mine", "new"))


async def test_marked_runs_are_stopped_and_then_killed(app: LauncherApp) -> None:
    run, process = start_run(app.runs_dir, end="deaf")
    async with app.run_test(size=(120, 30)) as pilot:
        await mark_all(pilot, 1)
        await answer(pilot, "ctrl+k", "Stop 1 marked run?")
        await until(pilot, lambda: "1 run stopping." in told(app))
        assert process.poll() is None
        await answer(pilot, "ctrl+k", "Kill 1 marked run?")
        await until(pilot, lambda: "1 run killed." in told(app))
    assert process.wait(30) == -9
    process.communicate()
    assert run.state() == "crashed"
