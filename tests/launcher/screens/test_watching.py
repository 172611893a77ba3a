from __future__ import annotations

import threading
from typing import Any

import pytest
from textual.app import App
from textual.screen import Screen

from launcher.screens import watching
from launcher.screens.watching import WatchingScreen
from tests.launcher.pilots import until

pytestmark = pytest.mark.asyncio


class Watch(WatchingScreen):
    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.begun = 0
        self.taken: list[Any] = []

    def look(self):
        def look():
            self.begun += 1
            self.gate.wait()
            return self.begun

        return look

    def take(self, found):
        self.taken.append(found)


@pytest.fixture(autouse=True)
def pause(monkeypatch):
    monkeypatch.setattr(watching, "PAUSE", 0.01)
    monkeypatch.setattr(watching, "LONG_PAUSE", 0.02)


async def test_it_looks_again_and_again_while_it_is_seen():
    async with App().run_test() as pilot:
        watch = Watch()
        pilot.app.push_screen(watch)
        await until(pilot, lambda: len(watch.taken) >= 3)
        assert watch.taken[:3] == [1, 2, 3]

        other = Watch()
        pilot.app.push_screen(other)
        await until(pilot, lambda: other.taken)
        begun = watch.begun
        await until(pilot, lambda: len(other.taken) >= 5)
        assert watch.begun == begun

        pilot.app.pop_screen()
        await until(pilot, lambda: watch.begun > begun)


async def test_a_slow_look_is_not_doubled():
    async with App().run_test() as pilot:
        watch = Watch()
        watch.gate.clear()
        pilot.app.push_screen(watch)
        await until(pilot, lambda: watch.begun)
        for _ in range(3):
            pilot.app.push_screen(Screen())
            await pilot.pause()
            pilot.app.pop_screen()
            await pilot.pause()
        assert (watch.begun, watch.taken) == (1, [])
        watch.gate.set()
        await until(pilot, lambda: watch.begun >= 2)
        assert watch.taken[0] == 1
