"""A dry run: a process in the background, which ends with the launcher."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from typing import IO

NICENESS = 10
BAD_RECIPE = 2  # exit code of kmtard.fit


class DryRun:
    """A process whose output is collected while it runs.

    Args:
        argv: its command.
        backend: of Keras.
        columns: greatest width of its tables.

    Attributes:
        argv: its command.
        lines: its output so far, including standard error.
        cancelled: whether the user stopped it.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, argv: Sequence[str], *, backend: str, columns: int) -> None:
        self.argv = tuple(argv)
        self.lines: list[str] = []
        self.cancelled = False
        self._started = time.monotonic()
        self._seconds: float | None = None
        environment = {
            "KERAS_BACKEND": backend,
            "COLUMNS": str(columns),
            "PYTHONUNBUFFERED": "1",
        }
        # If the launcher is killed, the broken pipe ends the process.
        self._process = subprocess.Popen(
            self.argv,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        with contextlib.suppress(OSError):  # it may already have ended
            niceness = os.getpriority(os.PRIO_PROCESS, 0) + NICENESS
            os.setpriority(os.PRIO_PROCESS, self._process.pid, niceness)
        threading.Thread(
            target=self._collect, args=[self._process.stdout], daemon=True
        ).start()

    @property
    def exit_code(self) -> int | None:
        """The exit code: None while it runs, negative if a signal ended it."""
        return None if self._seconds is None else self._process.returncode

    @property
    def seconds(self) -> float:
        """The time that it has run, in seconds."""
        now = time.monotonic() - self._started
        return now if self._seconds is None else self._seconds

    @property
    def state(self) -> str:
        """The state in words."""
        code = self.exit_code
        if code is None:
            return "stopping" if self.cancelled else "running"
        if self.cancelled:
            return "stopped"
        if code == 0:
            return "finished"
        if code == BAD_RECIPE:
            return "the recipe has mistakes, see below"
        return f"failed with exit code {code}, see the last lines"

    def cancel(self) -> None:
        """Ask the process to end; the second time, kill it."""
        self._signal(signal.SIGKILL if self.cancelled else signal.SIGTERM)

    def close(self) -> None:
        """Kill the process."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        # Once it has been waited for, another process may have its id.
        if self._process.poll() is None:
            self.cancelled = True
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def _collect(self, output: IO[bytes] | None) -> None:
        with output or contextlib.nullcontext(()) as lines:
            for line in lines:
                # Keep only the last state of a progress bar.
                shown = line.rstrip(b"\r\n").rpartition(b"\r")[2]
                self.lines.append(shown.decode("utf-8", errors="replace"))
        self._process.wait()
        self._seconds = time.monotonic() - self._started
