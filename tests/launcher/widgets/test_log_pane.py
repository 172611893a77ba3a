from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.widgets import Static

from launcher.settings import Settings
from launcher.widgets.log_pane import LogPane


class Logs(App[None]):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.settings = Settings(path.with_name("launch.json"))

    def compose(self) -> ComposeResult:
        yield LogPane(self.path, self.settings)

    @property
    def pane(self) -> LogPane:
        return self.query_one(LogPane)

    @property
    def rows(self) -> list[str]:
        text = self.pane.text
        strips = [
            text.render_line(y) for y in range(text.scrollable_content_region.height)
        ]
        return [strip.text.rstrip() for strip in strips]


async def until(pilot: Pilot[None], condition: Callable[[], bool]) -> None:
    for _ in range(250):
        if condition():
            return
        await pilot.pause(0.02)
    raise AssertionError("It did not come about in 5 s.")


def lines(first: int, last: int) -> str:
    return "".join(f"line {number}\n" for number in range(first, last))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "out.log"
    path.write_text(lines(0, 100))
    return path


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


async def start(app: Logs, pilot: Pilot[None]) -> None:
    text = app.pane.text
    text.focus()
    await until(pilot, lambda: 0 < text.max_scroll_y == text.scroll_y)
    # The scroll bar that came takes a column: lines are broken anew.
    await pilot.pause()


@pytest.mark.asyncio
async def test_the_end_is_followed_until_one_goes_up(path: Path) -> None:
    app = Logs(path)
    async with app.run_test(size=(40, 10)) as pilot:
        await start(app, pilot)
        assert app.rows[-1] == "line 99"
        append(path, lines(100, 102))
        await until(pilot, lambda: app.rows[-1] == "line 101")
        await pilot.press("pageup")
        await until(pilot, lambda: not app.pane.text.is_following)
        assert "paused" in str(app.pane.border_title)
        await pilot.wait_for_animation()
        held = app.rows
        append(path, lines(102, 110))
        await until(pilot, lambda: app.pane.text.virtual_size.height == 110)
        assert app.rows == held
        await pilot.press("f")
        await until(pilot, lambda: app.rows[-1] == "line 109")
        assert "following" in str(app.pane.border_title)


@pytest.mark.asyncio
async def test_long_lines_are_wrapped_or_not_also_wide_characters(path: Path) -> None:
    path.write_text("\u4e2d" * 30 + "\n[b]end[/b]\n")
    app = Logs(path)
    async with app.run_test(size=(40, 10)) as pilot:
        await until(pilot, lambda: app.rows[0] != "")
        assert [len(row) for row in app.rows[:2]] == [19, 11]
        assert app.rows[2] == "[b]end[/b]"
        app.pane.text.focus()
        await pilot.press("w")
        assert app.rows[1] == "[b]end[/b]" and not app.settings.get("log.wrap", True)
        await pilot.resize_terminal(70, 10)
        await pilot.pause()
        assert app.rows[0] == "\u4e2d" * 30


@pytest.mark.asyncio
async def test_wrapped_lines_have_no_scrollbar_below_them(path: Path) -> None:
    app = Logs(path)
    async with app.run_test(size=(40, 10)) as pilot:
        await until(pilot, lambda: app.rows[-1] == "line 99")
        text = app.pane.text
        await until(pilot, lambda: text.show_vertical_scrollbar)
        await pilot.pause()
        assert not text.show_horizontal_scrollbar


@pytest.mark.asyncio
async def test_search_goes_to_hits_and_round(path: Path) -> None:
    app = Logs(path)
    async with app.run_test(size=(40, 10)) as pilot:
        await start(app, pilot)
        await pilot.press("slash", *"LINE", "backspace", "backspace", "backspace")
        await pilot.press("backspace", *"ine 5")
        assert app.pane.text.hits == [5, *range(50, 60)]
        assert app.pane.text.current == 59 and "line 59" in app.rows
        await pilot.press("enter", "n")
        assert app.pane.text.current == 5 and "line 5" in app.rows
        assert "match 1/11" in str(app.pane.border_title)
        await pilot.press("N")
        assert app.pane.text.current == 59
        append(path, "line 500\n")
        await until(pilot, lambda: len(app.pane.text.hits) == 12)
        assert app.pane.text.current == 59 and not app.pane.text.is_following
        await pilot.press("slash", "end", *"?")
        assert "no match" in str(app.pane.border_title)
        await pilot.press("escape")
        assert not app.pane.has_class("-searching") and app.pane.text.has_focus


@pytest.mark.asyncio
async def test_the_hit_is_marked_also_without_colour(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = Logs(path)
    async with app.run_test(size=(40, 10)) as pilot:
        await start(app, pilot)
        app.pane.text.search("ne 99")
        segments = list(app.pane.text.render_line(len(app.rows) - 1))
        styles = {s.text: s.style for s in segments if s.style and s.style.reverse}
        assert list(styles) == ["ne 99"]


@pytest.mark.asyncio
async def test_the_place_is_found_again(path: Path) -> None:
    app = Logs(path)
    async with app.run_test(size=(40, 10)) as pilot:
        await start(app, pilot)
        await pilot.press("home")
        await until(pilot, lambda: app.rows[0] == "line 0")
        await pilot.press("pagedown")
        await pilot.wait_for_animation()
        seen = app.rows
        assert seen[0] != "line 0"
    append(path, lines(100, 120))
    again = Logs(path)
    async with again.run_test(size=(40, 10)) as pilot:
        await until(pilot, lambda: again.rows == seen)
        assert not again.pane.text.is_following


@pytest.mark.asyncio
async def test_earlier_lines_come_when_the_top_is_reached(path: Path) -> None:
    path.write_text("".join(f"{number:030}\n" for number in range(20_000)))
    app = Logs(path)
    async with app.run_test(size=(40, 10)) as pilot:
        await start(app, pilot)
        assert "more above" in str(app.pane.border_title)
        first = app.pane._file.view.lines[0]
        await pilot.press("home")
        await until(pilot, lambda: app.pane._file.view.lines[0] != first)
        await until(pilot, lambda: app.rows[0] == first)


@pytest.mark.asyncio
async def test_logs_that_are_missing_replaced_or_hostile(path: Path) -> None:
    path.unlink()
    app = Logs(path)
    async with app.run_test(size=(40, 10)) as pilot:
        note = app.query_one("#log-note", Static)
        await until(pilot, lambda: "There is no out.log" in str(note.content))
        path.write_bytes(b"\x1b[2J\x1b]0;t\x07\xff[red]x[/red]\n 1%\r 99%")
        await until(pilot, lambda: app.rows[:2] == ["\ufffd[red]x[/red]", " 99%"])
        assert not note.display
        other = path.with_name("other")
        other.write_text("new\n")
        os.replace(other, path)
        await until(pilot, lambda: app.rows[0] == "new")
