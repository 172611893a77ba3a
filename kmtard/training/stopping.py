"""Stop a training cleanly when the process receives a signal."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any


class Stopped(Exception):
    """A signal ended the run. Its checkpoint has been saved."""


class StopSignal:
    """Context manager: SIGTERM and Ctrl-C stop training after the current batch.

    Keras checks `model.stop_training` after each batch. A second Ctrl-C interrupts at
    once. SIGHUP is ignored, so closing the terminal does not end a run.

    Attributes:
        requested: whether a signal was received.
    """

    def __init__(self) -> None:
        self.requested = False
        self._model: Any = None
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignal:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._previous[number] = signal.signal(number, self._stop)
        self._previous[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def watch(self, model: Any) -> None:
        """Stop this model when a signal is received, or now if one already was."""
        self._model = model
        if self.requested:
            model.stop_training = True

    def check(self) -> None:
        """Raise `Stopped` if a signal was received. Call it between batches."""
        if self.requested:
            raise Stopped

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True
        if self._model is not None:
            self._model.stop_training = True
