"""Stop a training cleanly when the process receives a signal."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

AT_ONCE = 1.0
"""Seconds in which a second SIGTERM is ignored, since wrappers may send it twice."""

GRACE = 5.0
"""Seconds for Python to end cleanly after a second signal."""


class Stopped(BaseException):
    """A signal ended the run after its resume point was saved.

    It is not an `Exception`: it may be raised inside libraries, which must not handle
    it.
    """


class StopSignal:
    """Context manager: SIGTERM and Ctrl-C stop training after the current batch.

    Keras checks `model.stop_training` after each batch. Building and compiling the
    first batch of a model can take minutes, and no work is lost by then, so a signal
    raises `Stopped` at once. A second signal ends the process, even inside a compiler.
    It interrupts Python first, so that a run can write why it ended. SIGHUP is ignored,
    so that closing the terminal does not end a run.

    Several processes that train together stop after the same batch, whichever of them
    gets a signal: what each of them received is compared after each batch, and the
    answer is read after the next one, so that no step waits for it.

    Args:
        any_process: for several processes, `kmtard.backend.distribution.any_process`.

    Attributes:
        requested: whether the run is to stop, in all processes alike.
    """

    def __init__(
        self, any_process: Callable[[bool], Callable[[], bool]] | None = None
    ) -> None:
        self.requested = False
        self._any_process = any_process
        self._answer: Callable[[], bool] | None = None
        self._received = False
        self._since = 0.0
        self._model: Any = None
        self._starting = False
        self._previous: dict[signal.Signals, Any] = {}
        self._left = threading.Event()

    def __enter__(self) -> StopSignal:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._previous[number] = signal.signal(number, self._stop)
        self._previous[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        # Python runs no handlers while a compiler runs, but it does write this byte.
        self._seen, self._written = socket.socketpair()
        self._written.setblocking(False)
        self._descriptor = signal.set_wakeup_fd(
            self._written.fileno(), warn_on_full_buffer=False
        )
        self._left.clear()
        self._watcher = threading.Thread(target=self._end_at_second, daemon=True)
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._descriptor)
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._left.set()
        self._written.close()
        self._watcher.join()
        self._seen.close()

    def watch(self, model: Any) -> None:
        """Stop this model when a signal is received, or now if one already was."""
        self._model = model
        self._starting = self._any_process is None
        self._answer = None
        if self.requested:
            model.stop_training = True

    def batch_ended(self) -> None:
        """Let later batches finish before stopping, because the first one is done."""
        self._starting = False
        if self._any_process is None:
            return
        answer, self._answer = self._answer, self._any_process(self._received)
        if answer is not None and answer():
            self.requested = True
            self._model.stop_training = True

    def check(self) -> None:
        """Raise `Stopped` if a signal was received. Call it between batches."""
        if self._any_process is not None:
            self.requested |= self._any_process(self._received)()
        if self.requested:
            raise Stopped

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self._received:
            if _is_second(number, self._since):
                raise KeyboardInterrupt
            return
        self._received, self._since = True, time.monotonic()
        if self._any_process is not None:
            return
        self.requested = True
        if self._model is not None:
            self._model.stop_training = True
        if self._starting:
            raise Stopped

    def _end_at_second(self) -> None:
        """End the process if Python did not end after the second signal."""
        since: float | None = None
        while data := self._seen.recv(64):
            for number in set(data) & {signal.SIGTERM, signal.SIGINT}:
                if since is None:
                    since = time.monotonic()
                elif _is_second(number, since):
                    if not self._left.wait(GRACE):
                        os._exit(128 + number)
                    return


def _is_second(number: int, since: float) -> bool:
    return number == signal.SIGINT or time.monotonic() - since > AT_ONCE
