"""Reading again and again: never twice at once, and not behind another screen."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from textual.app import App
from textual.screen import Screen

from launcher import poller
from launcher.poller import Poller
from tests.launcher.pilots import until

pytestmark = pytest.mark.asyncio


class Watch(Screen[None]):
    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.begun = 0
        self.taken: list[int] = []

    def on_mount(self) -> None:
        self.poller = Poller(self, self.look, self.taken.append)

    def look(self) -> Callable[[], int]:
        def read() -> int:
            self.begun += 1
            self.gate.wait()
            return self.begun

        return read


@pytest.fixture(autouse=True)
def pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "PAUSE", 0.01)
    monkeypatch.setattr(poller, "LONG_PAUSE", 0.02)


async def test_it_reads_again_and_again_while_its_screen_is_shown() -> None:
    async with App[None]().run_test() as pilot:
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


class Slow(Watch):
    """Takes 0.05 s of the processor to draw."""

    def draw(self, number: int) -> None:
        end = time.thread_time() + 0.05
        while time.thread_time() < end:
            pass
        self.taken.append(number)

    def on_mount(self) -> None:
        self.poller = Poller(self, self.look, self.draw)


async def test_what_is_slow_to_draw_is_read_more_rarely(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(poller, "LONG_PAUSE", 1000.0)
    async with App[None]().run_test() as pilot:
        slow = Slow()
        pilot.app.push_screen(slow)
        least = poller.SHARE * 0.05
        await until(pilot, lambda: slow.taken)
        await until(pilot, lambda: slow.poller._timer._interval >= least)
        await pilot.pause(0.1)
        assert len(slow.taken) == slow.begun <= 2


async def test_a_slow_reading_is_not_doubled() -> None:
    async with App[None]().run_test() as pilot:
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


async def test_what_is_wanted_meanwhile_is_read_right_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(poller, "PAUSE", 1000.0)
    monkeypatch.setattr(poller, "LONG_PAUSE", 1000.0)
    async with App[None]().run_test() as pilot:
        watch = Watch()
        watch.gate.clear()
        pilot.app.push_screen(watch)
        await until(pilot, lambda: watch.begun)
        watch.poller.now()
        watch.gate.set()
        await until(pilot, lambda: watch.taken == [1, 2])


async def test_a_screen_that_is_gone_gets_nothing() -> None:
    async with App[None]().run_test() as pilot:
        watch = Watch()
        watch.gate.clear()
        pilot.app.push_screen(watch)
        await until(pilot, lambda: watch.begun)
        pilot.app.pop_screen()
        await pilot.pause()
        watch.gate.set()
        await pilot.pause(0.1)
        assert (watch.begun, watch.taken) == (1, [])
