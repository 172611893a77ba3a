"""The form of a recipe: sections that open, editors for each kind of field."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.widgets import Input, Select, Static, Switch

from launcher.screens.recipes import RecipesScreen
from launcher.widgets.field_row import FieldRow, Reset
from launcher.widgets.form_section import FormSection, SectionTitle
from tests.launcher.recipes_fixtures import (
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


def section(screen: RecipesScreen, name: str) -> FormSection:
    return next(each for each in screen.query(FormSection) if each.table == name)


async def test_fields_are_made_when_their_section_is_opened(folder: Path) -> None:
    async with new_app(folder).run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        assert {row.field.path[0] for row in screen.query(FieldRow)} == {"method"}
        await pilot.press("enter")  # in the list: to the form
        await until(pilot, lambda: isinstance(pilot.app.focused, SectionTitle))
        data = section(screen, "data")
        data.query_one(SectionTitle).focus()
        await pilot.press("right")
        await until(pilot, lambda: "data.batch_size" in rows(screen))
        await pilot.press("left")
        await until(pilot, lambda: not data.query_one(".fields").display)
        await pilot.press("enter")
        await until(pilot, lambda: data.query_one(".fields").display)
        await pilot.click(data.query_one(SectionTitle))
        await until(pilot, lambda: not data.query_one(".fields").display)
        assert len(data.query(FieldRow)) == 8


async def test_a_section_says_what_it_sets(folder: Path) -> None:
    async with new_app(folder).run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.focused, SectionTitle))
        section(screen, "attack").query_one(SectionTitle).focus()
        await pilot.pause()
        about = str(screen.query_one("#field-help", Static).render())
        assert about.splitlines() == [
            "attack  The attack that crafts the training examples: its radius, its "
            "steps and where it starts.",
            "sets epsilon, norm, step_size, steps, start",
        ]


async def test_the_arrow_keys_go_from_field_to_field(folder: Path) -> None:
    async with new_app(folder).run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.focused, SectionTitle))
        await section(screen, "method").open(True)
        editors = [row.editor for row in section(screen, "method").query(FieldRow)]
        for editor in editors:
            await pilot.press("down")
            assert pilot.app.focused is editor
        await pilot.press("up")
        assert pilot.app.focused is editors[-2]


async def test_each_kind_has_its_editor(folder: Path) -> None:
    async with new_app(folder).run_test(size=(120, 36)) as pilot:
        screen = await settled(pilot)
        await pilot.press("v")
        for name in ("data", "runtime"):
            await section(screen, name).open(True)
        found = rows(screen)
        flip, jit = found["data.flip"].editor, found["runtime.jit"].editor
        assert isinstance(found["data.batch_size"].editor, Input)
        assert isinstance(flip, Switch)
        assert isinstance(jit, Select)
        flip.focus()
        await pilot.press("space")
        await settled(pilot)
        assert "--set data.flip=true" in command(screen)
        await pilot.press("space")
        await settled(pilot)
        assert "data.flip" not in command(screen)
        jit.focus()
        await pilot.press("enter", "up", "enter")
        await settled(pilot)
        assert "--set runtime.jit=true" in command(screen)
        await pilot.press("ctrl+r")
        await settled(pilot)
        assert jit.value == "false"
        assert "runtime.jit" not in command(screen)


async def test_a_click_takes_a_change_back(folder: Path) -> None:
    async with new_app(folder).run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        await pilot.press("v")
        await write(pilot, "method.beta", "2")
        await settled(pilot)
        row = rows(screen)["method.beta"]
        title = section(screen, "method").query_one(SectionTitle)
        assert "1 changed" in str(title.render())
        await pilot.click(row.query_one(Reset))
        await settled(pilot)
        assert row.text == "1.0"
        assert "changed" not in str(title.render())


async def test_the_field_with_the_cursor_is_explained(folder: Path) -> None:
    async with new_app(folder).run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        await pilot.press("v")
        await section(screen, "schedule").open(True)
        rows(screen)["schedule.factor"].editor.focus()
        await pilot.pause()
        about = str(screen.query_one("#field-help", Static).render())
        assert about.splitlines() == [
            "schedule.factor  Number that the learning rate is multiplied by.",
            'number, or a fraction such as "8/255", > 0, <= 1000 · if left out: 0.1',
        ]


async def test_options_follow_the_network_and_the_cursor_stays(folder: Path) -> None:
    async with new_app(folder).run_test(size=(120, 36)) as pilot:
        screen = await settled(pilot)
        await pilot.press("v")
        await section(screen, "student").open(True)
        network = rows(screen)["student.network"].editor
        assert isinstance(network, Select)
        network.focus()
        network.value = "resnet56"
        await pilot.pause()
        await settled(pilot)
        assert "student.options.mean" in rows(screen)
        assert "student.options.width" not in rows(screen)
        assert pilot.app.focused is network


async def test_a_mistake_is_counted_in_a_closed_section(folder: Path) -> None:
    async with new_app(folder).run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        await pilot.press("v")
        data = section(screen, "data")
        await data.open(True)
        await write(pilot, "data.batch_size", "[b]0")
        await settled(pilot)
        row = rows(screen)["data.batch_size"]
        shown = str(row.query_one(".mistakes", Static).render())
        assert shown == "expected a whole number"
        await data.open(False)
        assert "1 wrong" in str(data.query_one(SectionTitle).render())


async def test_markup_in_a_file_is_text(folder: Path) -> None:
    text = (folder / "digits.toml").read_text()
    text = text.replace('name = "digits"', 'name = "[b]digits[/b]"')
    text = text.replace("pad = 1", 'pad = 1\ndirectory = "[red]\\u001b[31m[/red]"')
    (folder / "digits.toml").write_text(text)
    async with new_app(folder).run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        await pilot.press("v")
        await section(screen, "data").open(True)
        found = rows(screen)
        name, directory = found["data.name"], found["data.directory"]
        assert isinstance(name.editor, Select)
        assert name.editor.value == "[b]digits[/b]"
        assert "[b]digits[/b]" in str(name.editor.query_one("#label", Static).render())
        assert isinstance(directory.editor, Input)
        assert directory.editor.value == "[red]\x1b[31m[/red]"
        assert "\x1b" not in pilot.app.export_screenshot()
