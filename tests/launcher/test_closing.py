"""Callbacks that reach a screen or widget while it is being removed."""

from __future__ import annotations

import asyncio

import pytest
from textual.app import App, ComposeResult
from textual.css.query import NoMatches
from textual.screen import Screen
from textual.widgets import Label

from launcher.closing import is_open, while_open

pytestmark = pytest.mark.asyncio


class Page(Screen[None]):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.gate = asyncio.Event()

    def compose(self) -> ComposeResult:
        yield Label("a")

    @while_open
    def look(self) -> None:
        """Reach a child that must be there."""
        self.query_one(Label)
        self.calls.append("looked")

    @while_open
    async def wait(self) -> None:
        """Reach the child after a while."""
        await self.gate.wait()
        self.query_one(Label)
        self.calls.append("waited")

    @while_open
    def miss(self) -> None:
        """Reach a child that never was."""
        self.query_one("#nobody")


async def test_a_screen_that_is_gone_is_not_called() -> None:
    async with App[None]().run_test() as pilot:
        page = Page()
        await pilot.app.push_screen(page)
        page.look()
        waiting = asyncio.create_task(page.wait())
        await pilot.pause()
        assert is_open(page)
        await pilot.app.pop_screen()
        assert not is_open(page)
        page.look()
        page.gate.set()
        await waiting
        assert page.calls == ["looked"]


async def test_a_widget_that_is_missing_on_an_open_screen_is_an_error() -> None:
    async with App[None]().run_test() as pilot:
        page = Page()
        await pilot.app.push_screen(page)
        with pytest.raises(NoMatches):
            page.miss()
