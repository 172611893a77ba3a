"""Reading files again and again, without holding up the screen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from textual.timer import Timer
from textual.widget import Widget

from launcher.closing import is_open

PAUSE = 1.0  # seconds between two readings
LONG_PAUSE = 8.0
SHARE = 80  # a pause lasts this many times the work before it, within these limits

READERS = ThreadPoolExecutor(2, thread_name_prefix="reader")
"""Few threads, since each of them keeps memory that it has freed."""

Found = TypeVar("Found")


class Poller(Generic[Found]):
    """Reads files in a thread while a screen or widget is visible.

    One reading ends before the next begins, since a thread cannot be canceled. Nothing
    is read while another screen is shown, and the reading stops with its node. The
    longer it takes to read and to draw, the rarer it is done.

    Args:
        node: the screen or widget, which must be mounted.
        look: called in the app's thread, returns the function that reads. That one
            runs in another thread and must not touch widgets.
        take: called in the app's thread with what was read.
        pause: the shortest time between two readings, in seconds; `PAUSE` if None.
    """

    def __init__(
        self,
        node: Widget,
        look: Callable[[], Callable[[], Found]],
        take: Callable[[Found], None],
        *,
        pause: float | None = None,
    ) -> None:
        self._node = node
        self._look = look
        self._take = take
        self._pause = PAUSE if pause is None else pause
        self._is_reading = self._is_wanted = False
        self._timer: Timer | None = None
        node.app.screen_change_signal.subscribe(node, lambda screen: self.now())
        # A thread that reads would delay the first drawing of the screen.
        node.call_after_refresh(self.now)

    def now(self) -> None:
        """Read at once, or as soon as the current reading has ended."""
        self._is_wanted = True
        node = self._node
        if not self._is_reading and is_open(node) and node.screen.is_active:
            if self._timer is not None:
                self._timer.stop()
            self._is_reading = True
            node.run_worker(self._read(), group="poller")

    async def _read(self) -> None:
        self._is_wanted = False
        began = time.monotonic()
        try:
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(READERS, self._look())
        finally:
            self._is_reading = False
        if is_open(self._node):
            reading, began = time.monotonic() - began, time.thread_time()
            self._wait(reading)
            self._take(found)
            self._node.call_after_refresh(self._wait_longer, reading, began)
            if self._is_wanted:
                self.now()

    def _wait(self, work: float) -> None:
        if self._timer is not None:
            self._timer.stop()
        pause = min(LONG_PAUSE, max(self._pause, SHARE * work))
        self._timer = self._node.set_timer(pause, self.now)

    def _wait_longer(self, reading: float, began: float) -> None:
        """Wait as the reading and the drawing demand, once the screen is drawn."""
        if not self._is_reading and is_open(self._node):
            self._wait(reading + time.thread_time() - began)
