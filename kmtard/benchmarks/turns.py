"""Processes that take turns: each works only while the caller waits for its answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self

TAIL = 2000
"""Length of the end of the process's log that an error shows, in characters."""


class Times(NamedTuple):
    """Mean times of one repetition.

    Attributes:
        wall: seconds on the clock.
        cpu: seconds of processor time of all threads. Other programs on the machine
            change them less than those on the clock.
    """

    wall: float
    cpu: float


class Refused(RuntimeError):
    """The process cannot do this kind of work, although it still runs."""


class Worker:
    """A process that times work on demand; a context manager that ends it.

    Its module takes the settings as JSON in its only argument. It writes a JSON object
    when it is ready, and answers each line `[KIND, COUNT]`; see
    `kmtard.benchmarks.rivals`.

    Args:
        module: name of the module to run.
        settings: its settings.
        environment: variables that are added to the environment.

    Attributes:
        ready: what the process wrote when it was ready, such as its device.
        answered: its last answer.

    Raises:
        RuntimeError: the process ended, for example because PyTorch is not installed.
    """

    def __init__(
        self,
        module: str,
        settings: Mapping[str, Any],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._module = module
        self._log = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        self.ready = self.answered = self._answer()

    def times(self, kind: str, count: int) -> Times:
        """Return the mean times of one repetition.

        Args:
            kind: the kind of work, such as "eager" or "compiled".
            count: number of repetitions, >= 1.

        Raises:
            Refused: this kind of work failed; the process still answers.
            RuntimeError: the process ended.
        """
        if self._process.stdin:
            self._process.stdin.write(json.dumps([kind, count]) + "\n")
            self._process.stdin.flush()
        found = self.answered = self._answer()
        if "error" in found:
            raise Refused(str(found["error"]))
        return Times(float(found["seconds"]), float(found["cpu_seconds"]))

    def close(self) -> None:
        """End the process."""
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
        self._log.close()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            code = self._process.wait()
            self._log.seek(0)
            raise RuntimeError(
                f"The process of {self._module} ended with exit code {code}. "
                f"{self._log.read()[-TAIL:]}"
            )
        return dict(json.loads(line))

    def __enter__(self) -> Self:
        """Return the worker."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process."""
        self.close()
