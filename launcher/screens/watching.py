"""Screens of files that change."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from textual import on, work
from textual.message import Message
from textual.screen import Screen
from textual.timer import Timer

PAUSE = 1.0  # seconds between two looks
LONG_PAUSE = 5.0
SHARE = 50  # a pause is that many times the look before it, within these limits


class WatchingScreen(Screen[None]):
    """Looks at files in a thread, again and again while the screen is seen."""

    @dataclass
    class Looked(Message):
        """A look has ended."""

        found: Any
        seconds: float

    def __init__(self) -> None:
        super().__init__()
        self._is_looking = self._is_seen = False
        self._timer: Timer | None = None

    def look(self) -> Callable[[], Any]:
        """Return what reads the files; it runs in a thread and touches no widget."""
        raise NotImplementedError

    def take(self, found: Any) -> None:
        """Show what was read."""
        raise NotImplementedError

    def on_screen_resume(self) -> None:
        """Look at once."""
        self._is_seen = True
        self._look()

    def on_screen_suspend(self) -> None:
        """Let the files alone while nobody sees what is in them."""
        self._is_seen = False
        if self._timer:
            self._timer.stop()

    def _look(self) -> None:
        # A thread cannot be cancelled: one look ends before the next begins.
        if not self._is_looking:
            self._is_looking = True
            self._run_look(self.look())

    @work(thread=True, group="look")
    def _run_look(self, look: Callable[[], Any]) -> None:
        began = time.monotonic()
        found = look()
        self.post_message(self.Looked(found, time.monotonic() - began))

    @on(Looked)
    def _end_look(self, message: Looked) -> None:
        self._is_looking = False
        if self._is_seen:
            pause = min(LONG_PAUSE, max(PAUSE, SHARE * message.seconds))
            self._timer = self.set_timer(pause, self._look)
        self.take(message.found)
