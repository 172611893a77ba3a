from __future__ import annotations

import pytest
from textual.app import App, ComposeResult

from launcher.widgets.on_off import OnOff
from tests.launcher.pilots import screen_text

pytestmark = pytest.mark.asyncio


class One(App[None]):
    def compose(self) -> ComposeResult:
        yield OnOff(id="one")


async def test_the_state_is_a_word_that_keys_and_mouse_change() -> None:
    app = One()
    async with app.run_test(size=(20, 3)) as pilot:
        assert "○ off" in screen_text(pilot)
        assert app.query_one(OnOff).region.height == 1
        await pilot.press("tab", "space")
        await pilot.pause()
        assert "● on" in screen_text(pilot) and app.query_one(OnOff).value
        await pilot.click("#one")
        await pilot.pause()
        assert "○ off" in screen_text(pilot)
