"""The screen of the recipes: find, look, choose, change."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from textual.widgets import Input, OptionList, Select, Switch, TabbedContent

from launcher.recipes.recipe_files import Shelf
from launcher.screens.confirm import ConfirmScreen
from launcher.settings import Settings
from launcher.widgets import choice as choice_module
from launcher.widgets.choice import Choice
from launcher.widgets.recipe_list import RecipeList
from tests.launcher.engine_fixtures import told
from tests.launcher.pilots import screen_text
from tests.launcher.recipes_fixtures import (
    RecipesApp,
    choose,
    command,
    folder,
    mistakes,
    new_app,
    rows,
    settled,
    until,
    write,
)

__all__ = ["folder"]
pytestmark = pytest.mark.asyncio
SIZES = [(120, 36), (80, 24), pytest.param((60, 16), marks=pytest.mark.slow), (40, 10)]


def listed(listing: OptionList) -> list[str]:
    return [str(option.prompt) for option in listing.options]


@pytest.mark.parametrize("size", SIZES)
async def test_recipes_are_listed_and_the_first_is_shown(
    folder: Path, size: tuple[int, int]
) -> None:
    async with new_app(folder).run_test(size=size) as pilot:
        screen = await settled(pilot)
        assert listed(screen.query_one(RecipeList)) == [
            "Working folder",
            "digits\n  digits · small_cnn · 16 methods",
            "other\n  digits · small_cnn · 16 methods",
        ]
        assert command(screen) == "python -m kmtard.fit digits.toml"
        compact = size == (40, 10)
        assert screen.has_class("-compact") == compact
        assert screen.query_one("Tabs").display != compact


async def test_the_size_may_change_at_any_time(folder: Path) -> None:
    async with new_app(folder).run_test(size=(120, 36)) as pilot:
        screen = await settled(pilot)
        for width, height in [(40, 10), (80, 24), (59, 36), (60, 15), (60, 16)]:
            await pilot.resize_terminal(width, height)
            await pilot.pause()
            compact = width < 60 or height < 16
            assert screen.has_class("-compact") == compact
            views = screen.query_one(TabbedContent)
            assert views.active == ("command" if compact else "preview")


HOSTILE = {
    "keys": "a" + ".a" * 1_200 + " = 1",
    "dotted": "a" + ".a" * 20_000 + " = 1",
    "arrays": "a = " + "[" * 400 + "]" * 400,
    "many": "".join(f"a{i} = 1\n" for i in range(300)) + "[data]\n",
    "long": f'data.name = "{"x" * 50_000}"',
    "utf_16": "[data]\n\0",
}


async def test_hostile_recipes_leave_the_others_and_the_keys_alone(
    folder: Path, tmp_path: Path
) -> None:
    given = []
    for name, text in HOSTILE.items():
        given.append(tmp_path / f"{name}.toml")
        given[-1].write_text(text)
    for name, target in (("zero", "/dev/zero"), ("loop", "loop.toml")):
        given.append(tmp_path / f"{name}.toml")
        given[-1].symlink_to(target)
    settings = Settings(folder / "launch.json")
    app = RecipesApp(folder / "runs", recipes=given, settings=settings)
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await settled(pilot)
        listing = screen.query_one(RecipeList)
        names = [line.split()[0] for line in listed(listing)]
        assert {path.stem for path in given} | {"digits", "other"} <= set(names)
        for path in given:
            listing.highlighted = listing.get_option_index(str(path))
            await until(pilot, lambda path=path: screen._path == path)
            await until(pilot, lambda: screen._checked is not None)
            assert screen._checked.mistakes
        listing.highlighted = listing.get_option_index(str(folder / "digits.toml"))
        await until(pilot, lambda: command(screen).endswith("digits.toml"))
        await pilot.press("f7")
        await until(pilot, lambda: command(screen).endswith("--smoke"))


async def test_no_recipes_say_what_to_do(folder: Path) -> None:
    for file in folder.glob("*.toml"):
        file.unlink()
    async with new_app(folder).run_test(size=(80, 24)) as pilot:
        screen = pilot.app.screen
        await until(pilot, lambda: screen.has_class("-nothing"))
        assert screen.query_one("#empty").display
        for key in ("f9", "f6", "f8", "ctrl+s", "f4", "ctrl+n"):
            await pilot.press(key)
        (folder / "new.toml").write_text("[data]\n")
        screen._poller.now()
        await until(pilot, lambda: not screen.has_class("-nothing"))


async def test_a_broken_file_shows_its_mistake_and_is_not_launched(
    folder: Path,
) -> None:
    (folder / "[b]broken.toml").write_text("[data]\nname = [\x1b[31m\n[method]\n")
    app = new_app(folder)
    app.recipes = (folder / "[b]broken.toml",)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        assert "[b]broken  1 wrong" in listed(screen.query_one(RecipeList))[1]
        assert "expected TOML" in mistakes(screen)
        await pilot.press("l")
        await until(pilot, lambda: not screen._is_launching)
        assert app.queue.entries() == []


async def test_a_method_is_chosen_and_its_options_appear(folder: Path) -> None:
    async with new_app(folder).run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        screen.query_one("#methods", Select).value = "score"
        await pilot.pause()
        await settled(pilot)
        assert command(screen).endswith("digits.toml \\\n  --method score")
        assert "method.clip" in rows(screen)
        assert "method.temperature" not in rows(screen)
        screen.query_one("#methods", Select).value = "b_mtard"
        await pilot.pause()
        await settled(pilot)
        assert command(screen) == "python -m kmtard.fit digits.toml"


async def test_a_change_is_marked_checked_and_taken_back(folder: Path) -> None:
    async with new_app(folder).run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        await pilot.press("v")
        await write(pilot, "method.beta", "x")
        await settled(pilot)
        row = rows(screen)["method.beta"]
        assert row.has_class("-changed")
        assert row.has_mistakes
        assert mistakes(screen) == ""  # it stands at the field
        await pilot.press("f5")  # the command view has no fields
        await pilot.pause()
        assert "method.beta" in mistakes(screen)
        await pilot.press("f5", "f5")
        await write(pilot, "method.beta", "2")
        await settled(pilot)
        assert not row.has_mistakes
        assert command(screen).endswith("--set method.beta=2")
        await pilot.press("ctrl+r")
        await settled(pilot)
        assert command(screen) == "python -m kmtard.fit digits.toml"
        assert not row.has_class("-changed")
        assert isinstance(row.editor, Input)
        assert row.editor.value == "1.0"


async def test_what_was_written_stays_with_its_recipe(folder: Path) -> None:
    async with new_app(folder).run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        await pilot.press("v")
        await write(pilot, "method.beta", "wrong")
        await settled(pilot)
        await pilot.press("escape")  # to the list, nothing is discarded
        await choose(pilot, "other.toml")
        editor = rows(screen)["method.beta"].editor
        assert isinstance(editor, Input)
        assert editor.value == "1.0"
        await write(pilot, "method.beta", "3")
        await pilot.press("f3")
        await pilot.press("f2")
        await choose(pilot, "digits.toml")
        editor = rows(screen)["method.beta"].editor
        assert isinstance(editor, Input)
        assert editor.value == "wrong"
        await choose(pilot, "other.toml")
        assert command(screen).endswith("--set method.beta=3")
        assert [text.count("edited") for text in listed(screen.query_one(RecipeList))]


async def test_typing_while_it_is_checked_loses_no_key(folder: Path) -> None:
    async with new_app(folder).run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        await pilot.press("v")
        await write(pilot, "method.beta", "")
        for digit in "1234567":
            await pilot.press(digit)
            screen._check_now()  # as if each pause had been long enough
        await settled(pilot)
        editor = rows(screen)["method.beta"].editor
        assert isinstance(editor, Input)
        assert editor.value == "1234567"
        assert command(screen).endswith("method.beta=1234567")


@pytest.mark.parametrize("answer", ["y", "n"])
async def test_resetting_more_than_one_field_asks(folder: Path, answer: str) -> None:
    async with new_app(folder).run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        await pilot.press("v")
        await write(pilot, "method.beta", "2")
        await write(pilot, "method.weight_rate", "1")
        await settled(pilot)
        before = command(screen)
        await pilot.press("f4")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmScreen))
        await pilot.press(answer)
        await until(pilot, lambda: pilot.app.screen is screen)
        await settled(pilot)
        if answer == "n":
            assert command(screen) == before
        else:
            await until(pilot, lambda: not screen._draft.edits)
            await settled(pilot)
            assert command(screen) == "python -m kmtard.fit digits.toml"
            editor = rows(screen)["method.beta"].editor
            assert isinstance(editor, Input)
            assert editor.value == "1.0"


async def test_a_file_changed_by_another_program_is_noticed(folder: Path) -> None:
    async with new_app(folder).run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        await pilot.press("v")
        await write(pilot, "method.weight_rate", "1")
        text = (folder / "digits.toml").read_text()
        table, rest = text.split("[methods.b_mtard]")
        rest = rest.replace("beta = 1.0", "beta = 4.5", 1)
        (folder / "digits.toml").write_text(f"{table}[methods.b_mtard]{rest}")
        screen._poller.now()
        await until(pilot, lambda: rows(screen)["method.beta"].text == "4.5")
        await settled(pilot)
        assert command(screen).endswith("--set method.weight_rate=1")


async def test_smoke_is_part_of_what_is_kept(folder: Path) -> None:
    async with new_app(folder).run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        await pilot.press("s")
        await settled(pilot)
        await choose(pilot, "other.toml")
        assert not screen.query_one("#smoke", Switch).value
        await choose(pilot, "digits.toml")
        assert screen.query_one("#smoke", Switch).value
        assert command(screen).endswith("--smoke")


async def test_until_the_folders_are_read_it_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, scan = threading.Event(), Shelf.scan
    monkeypatch.setattr(Shelf, "scan", lambda self: (gate.wait(), scan(self))[1])
    async with new_app(folder).run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        text = screen_text(pilot)
        assert "reading ..." in text and "found" not in text
        await pilot.press("f6")
        await until(pilot, lambda: "No recipe is chosen yet" in told(pilot.app))
        gate.set()
        await settled(pilot)
        assert "2 found" in screen_text(pilot)


@pytest.mark.parametrize("opened", [False, True])
async def test_typing_selects_a_method(folder: Path, opened: bool) -> None:
    async with new_app(folder).run_test(size=(100, 30)) as pilot:
        screen = await settled(pilot)
        choice = screen.query_one("#methods", Choice)
        assert all(isinstance(value, str) for _, value in choice._options)
        choice.focus()
        await pilot.press(*(["enter"] if opened else []), *"trad")
        await until(pilot, lambda: choice.value == "trades")
        await until(pilot, lambda: "--method trades" in command(screen))
        await pilot.press("f9")
        await until(pilot, lambda: bool(pilot.app.queue.entries()))
        assert "trades" in pilot.app.queue.entries()[0].command


async def test_typing_goes_on_after_a_wrong_key(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice_module, "PAUSE", 60.0)
    async with new_app(folder).run_test(size=(100, 30)) as pilot:
        screen = await settled(pilot)
        choice = screen.query_one("#methods", Choice)
        choice.focus()
        await pilot.press(*"rs")
        await until(pilot, lambda: choice.value == "rslad")
        await pilot.press(*"qqt")
        await until(pilot, lambda: choice.value == "trades")
