"""The process of a dry run: in the background, gone when it is no longer wanted."""

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
    """A process whose output is collected while it goes on.

    Args:
        argv: its command.
        backend: of Keras.
        columns: width that its tables may have.

    Attributes:
        argv: its command.
        lines: its output so far, standard error among it.
        cancelled: whether the user ended it.

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
        # Should the launcher be killed, the next line ends the process: nobody reads.
        self._process = subprocess.Popen(
            self.argv,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        with contextlib.suppress(OSError):  # it may have ended already
            niceness = os.getpriority(os.PRIO_PROCESS, 0) + NICENESS
            os.setpriority(os.PRIO_PROCESS, self._process.pid, niceness)
        threading.Thread(
            target=self._collect, args=[self._process.stdout], daemon=True
        ).start()

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative if a signal ended it."""
        return None if self._seconds is None else self._process.returncode

    @property
    def seconds(self) -> float:
        """How long it has run."""
        now = time.monotonic() - self._started
        return now if self._seconds is None else self._seconds

    @property
    def state(self) -> str:
        """What has become of it, in words."""
        code = self.exit_code
        if code is None:
            return "stopping" if self.cancelled else "running"
        if self.cancelled:
            return "cancelled"
        if code == 0:
            return "finished"
        if code == BAD_RECIPE:
            return "the recipe is wrong, see below"
        return f"failed, exit code {code}: see the last lines"

    def cancel(self) -> None:
        """Ask the process to end; asked again, end it."""
        self._signal(signal.SIGKILL if self.cancelled else signal.SIGTERM)

    def close(self) -> None:
        """End the process at once."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        # Only a process that has not been waited for is surely this one.
        if self._process.poll() is None:
            self.cancelled = True
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def _collect(self, output: IO[bytes] | None) -> None:
        for line in output or ():
            # Of a progress bar that goes back to its start, the last state.
            shown = line.rstrip(b"\r\n").rpartition(b"\r")[2]
            self.lines.append(shown.decode("utf-8", errors="replace"))
        self._process.wait()
        self._seconds = time.monotonic() - self._started
