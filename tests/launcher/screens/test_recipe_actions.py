"""What is done with a recipe: launch, copy, save, try."""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input, TabbedContent

from kmtard.recipe import load
from kmtard.runs.files import RunError
from kmtard.runs.queue.queue import Queue
from kmtard.runs.queue.task import Task
from launcher.recipes.draft import Draft
from launcher.screens import recipe_actions
from launcher.screens.ask import AskScreen
from launcher.screens.confirm import ConfirmScreen
from launcher.screens.dry_run import DryRunScreen
from launcher.screens.recipe_actions import command_lines
from tests.launcher.recipes_fixtures import (
    DIGITS,
    choose,
    command,
    folder,
    new_app,
    rows,
    settled,
    until,
    write,
)

__all__ = ["folder"]
pytestmark = pytest.mark.asyncio
SIZES = [(120, 36), (80, 24), pytest.param((60, 16), marks=pytest.mark.slow), (40, 10)]


async def test_a_launch_goes_into_the_queue(folder: Path) -> None:
    app = new_app(folder)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        await pilot.press("s", "v")
        await write(pilot, "method.beta", "2")
        await pilot.press("f9")
        await until(pilot, lambda: bool(app.queue.entries()))
        [entry] = app.queue.entries()
        assert entry.command == [
            *[sys.executable, "-m", "kmtard.fit", "digits.toml"],
            *["--set", "method.beta=2", "--smoke"],
        ]
        assert entry.title == "digits b-mtard smoke"
        assert entry.backend == "tensorflow"
        assert Path(entry.cwd) == folder
        await until(pilot, lambda: not screen._is_launching)


async def test_a_strangers_recipe_that_names_code_is_not_queued(
    folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "elsewhere" / "foreign.toml"
    path.parent.mkdir()
    text = DIGITS.read_text().replace('"small_cnn"', '"own_parts:build"')
    assert text != DIGITS.read_text()
    path.write_text(text)
    code = "def build(num_classes, input_shape): ...\n"
    (folder / "own_parts.py").write_text(code)
    app = new_app(folder)
    app.recipes = (path,)
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await settled(pilot)
        await choose(pilot, "foreign.toml")
        await pilot.press("l")
        await until(pilot, lambda: "student.network" in rows(screen))
        await until(pilot, lambda: rows(screen)["student.network"].has_mistakes)
        told = str(rows(screen)["student.network"].query_one(".mistakes").render())
        assert "it is outside the working folder" in told
        assert "give --trust on the command line (the launcher has" in told
        assert app.queue.entries() == []


async def test_the_run_will_appear_among_the_others(folder: Path) -> None:
    app = new_app(folder)
    app.runs_dir = folder / "my runs"
    app.queue = Queue(app.runs_dir)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        await pilot.press("l")
        await until(pilot, lambda: bool(app.queue.entries()))
        [entry] = app.queue.entries()
        assert entry.command[-1] == f"runtime.runs_dir={folder / 'my runs'}"
        assert f"'runtime.runs_dir={folder / 'my runs'}'" in command(screen)


async def test_a_wrong_recipe_is_not_launched_and_the_mistake_is_gone_to(
    folder: Path,
) -> None:
    app = new_app(folder)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        await pilot.press("v")
        await write(pilot, "method.beta", "x")
        await write(pilot, "method.weight_rate", "y")
        await pilot.press("f5", "f9")
        await until(
            pilot,
            lambda: pilot.app.focused is rows(screen)["method.weight_rate"].editor,
        )
        assert app.queue.entries() == []
        assert screen.query_one(TabbedContent).active == "form"
        await pilot.press("ctrl+n")
        await until(
            pilot, lambda: pilot.app.focused is rows(screen)["method.beta"].editor
        )


async def test_a_queue_that_cannot_be_written_is_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Queue, *arguments: object, **options: object) -> None:
        raise RunError("Cannot write [b]queue: No space left on device.")

    monkeypatch.setattr(Queue, "add", full)
    app = new_app(folder)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        await pilot.press("l")
        await until(pilot, lambda: bool(app._notifications))
        [notice] = app._notifications
        assert notice.message == "Cannot write [b]queue: No space left on device."
        assert not screen._is_launching


async def test_the_command_is_copied_as_it_is_typed(folder: Path) -> None:
    app = new_app(folder)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("s", "y")
        await until(pilot, lambda: bool(app.clipboard))
        assert app.clipboard == "python -m kmtard.fit digits.toml --smoke"


async def test_command_lines_can_be_pasted_into_a_shell() -> None:
    argv = [sys.executable, "-m", "kmtard.fit", "a b.toml", "--set", "x=1 2", "--smoke"]
    assert command_lines(argv) == (
        "python -m kmtard.fit 'a b.toml' \\\n  --set 'x=1 2' \\\n  --smoke"
    )


async def test_saving_keeps_typed_text_and_selects_the_new_file(folder: Path) -> None:
    (folder / "taken.toml").write_text("taken")
    async with new_app(folder).run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        await pilot.press("v")
        await write(pilot, "method.beta", "2")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(pilot.app.screen, AskScreen))
        await pilot.press("end", "ctrl+u", *"taken.toml", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmScreen))
        await pilot.press("n")
        await until(pilot, lambda: isinstance(pilot.app.screen, AskScreen))
        line = pilot.app.screen.query_one(Input)
        assert line.value == "taken.toml"
        assert (folder / "taken.toml").read_text() == "taken"
        await pilot.press("home", *"my-", "enter")
        await until(pilot, lambda: screen._path == folder / "my-taken.toml")
        await settled(pilot)
        assert command(screen) == "python -m kmtard.fit my-taken.toml"
        saved = tomllib.loads((folder / "my-taken.toml").read_text())
        assert saved["methods"]["b_mtard"]["beta"] == 2
        await choose(pilot, "digits.toml")
        assert command(screen).endswith("--set method.beta=2")


async def test_the_suggested_name_is_no_path(folder: Path) -> None:
    async with new_app(folder).run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        screen._set_draft(Draft("[b]mine[/b]"))
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(pilot.app.screen, AskScreen))
        line = pilot.app.screen.query_one(Input)
        assert line.value == "digits-b-mine-b.toml"


async def test_saving_into_the_file_itself_ends_the_changes(folder: Path) -> None:
    async with new_app(folder).run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        await pilot.press("v")
        await write(pilot, "method.beta", "2")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(pilot.app.screen, AskScreen))
        await pilot.press("end", "ctrl+u", *"digits.toml", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmScreen))
        await pilot.press("y")
        await until(pilot, lambda: not screen._drafts.get(folder / "digits.toml"))
        await settled(pilot)
        assert command(screen) == "python -m kmtard.fit digits.toml"
        await until(pilot, lambda: rows(screen)["method.beta"].text == "2")
        recipe = load(folder / "digits.toml")
        assert recipe.method.options["beta"] == 2


def stand_in(script: str) -> Any:
    def command_of(task: Task) -> Sequence[str]:
        return [sys.executable, "-c", script, *task.command()[3:]]

    return command_of


async def test_a_dry_run_goes_on_while_its_screen_is_left(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "import time\nprint('begun')\nwhile True: time.sleep(0.1)"
    monkeypatch.setattr(recipe_actions, "dry_run_command", stand_in(script))
    async with new_app(folder).run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        await pilot.press("d")
        await until(pilot, lambda: isinstance(pilot.app.screen, DryRunScreen))
        dry_run = screen._dry_runs[folder / "digits.toml"]
        await pilot.press("escape", "d")
        await until(pilot, lambda: isinstance(pilot.app.screen, DryRunScreen))
        assert screen._dry_runs[folder / "digits.toml"] is dry_run
        assert dry_run.exit_code is None
        await pilot.press("escape")
        await choose(pilot, "other.toml")
        await pilot.press("d")
        await until(pilot, lambda: len(screen._dry_runs) == 2)
        both = list(screen._dry_runs.values())
    for each in both:
        each._process.wait(30)
        assert each._process.returncode < 0


async def test_a_dry_run_that_ended_is_shown_again_until_something_changes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe_actions, "dry_run_command", stand_in("print('done')"))
    async with new_app(folder).run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)

        async def shown() -> object:
            await until(pilot, lambda: isinstance(pilot.app.screen, DryRunScreen))
            dry_run = screen._dry_runs[folder / "digits.toml"]
            await until(pilot, lambda: dry_run.exit_code == 0)
            return dry_run

        await pilot.press("d")
        first = await shown()
        await pilot.press("escape", "d")
        assert await shown() is first
        pilot.app.screen.refresh_bindings()
        await pilot.pause()
        await pilot.press("r")
        await until(
            pilot,
            lambda: screen._dry_runs.get(folder / "digits.toml") not in (None, first),
        )
        second = await shown()
        await pilot.press("escape", "v")
        await write(pilot, "method.beta", "2")
        await pilot.press("f6")
        await until(
            pilot, lambda: screen._dry_runs[folder / "digits.toml"] is not second
        )
        third = screen._dry_runs[folder / "digits.toml"]
        assert third.argv[-1] == "method.beta=2"


async def test_a_name_that_is_no_utf8_is_shown_and_copied(folder: Path) -> None:
    for name in ("digits.toml", "other.toml"):
        (folder / name).unlink()
    file = folder / os.fsdecode(b"\xff\x1b[31m.toml")
    file.write_text(DIGITS.read_text())
    app = new_app(folder)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        mark = "\N{REPLACEMENT CHARACTER}"
        assert f"{mark}{mark}[31m.toml" in command(screen)
        await pilot.press("y")
        await until(pilot, lambda: bool(app.clipboard))
        assert app.clipboard.startswith(f"python -m kmtard.fit '{mark}")
        pilot.app.export_screenshot().encode()
        await pilot.press("l")
        await until(pilot, lambda: not screen._is_launching)
        [entry] = app.queue.entries()
        assert Path(entry.command[3]) == Path(file.name)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(pilot.app.screen, AskScreen))
        await pilot.pause()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name", "ends in .toml"),
        ("~nobody at all/x.toml", "no folder"),
        ("missing/x.toml", "no folder"),
        ("x" * 300 + "/x.toml", "no folder"),
        ("folder.toml", "is a folder"),
    ],
)
async def test_where_nothing_can_be_saved_is_said_while_it_is_typed(
    folder: Path, text: str, message: str
) -> None:
    (folder / "folder.toml").mkdir()
    assert message in (recipe_actions.wrong_target(text) or "")
    assert recipe_actions.wrong_target("new.toml") is None
