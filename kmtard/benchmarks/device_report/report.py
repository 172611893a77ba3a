"""Run the parts of a device report within a time limit, and save their results."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import kmtard
from kmtard.runs.files import RunError, write_atomic

SCHEMA = 1
STATES = ("waiting", "running", "done", "cut", "failed")
TAIL = 2000
"""Length of the end of a worker's log that is kept, in characters."""

__all__ = ["SCHEMA", "STATES", "Report", "RunError", "run"]


class Report:
    """The JSON document of a report, written to disk after each change.

    Args:
        path: the file. Its folder is created if missing.
        backend: the Keras backend.
        names: names of the parts, in order.

    Attributes:
        document: content of the file.

    Raises:
        RunError: the file cannot be written.
    """

    def __init__(self, path: Path, backend: str, names: Sequence[str]) -> None:
        self.path = path
        self.document: dict[str, Any] = {
            "schema": SCHEMA,
            "kmtard": kmtard.__version__,
            "backend": backend,
            "miniature": None,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": sys.argv,
            "finished": False,
            "seconds": 0.0,
            "parts": {name: {"state": "waiting", "rows": []} for name in names},
        }
        self._began = time.monotonic()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"Cannot create {path.parent}: {error.strerror}.") from error
        self.write()

    def add(self, message: Mapping[str, Any]) -> None:
        """Add a message from a worker; see `worker`.

        A row replaces an earlier row of the same case that was still running.
        """
        if "miniature" in message:
            self.document["miniature"] = message["miniature"]
        else:
            part = self.document["parts"][message["part"]]
            if "row" in message:
                case = message["row"]["case"]
                part["rows"] = [
                    row
                    for row in part["rows"]
                    if not (row.get("running") and row["case"] == case)
                ]
                part["rows"].append(message["row"])
            else:
                part |= {key: message[key] for key in message if key != "part"}
        self.write()

    def write(self) -> None:
        """Write the file.

        Raises:
            RunError: it cannot be written.
        """
        self.document["seconds"] = round(time.monotonic() - self._began, 1)
        write_atomic(self.path, json.dumps(self.document, indent=2) + "\n")


def run(
    report: Report,
    command: Sequence[str],
    shares: Mapping[str, float],
    *,
    seconds: float,
) -> None:
    """Run the parts in workers, and end parts that take too long.

    A part may use its share of the remaining time, so later parts get the time that
    earlier parts did not need. When its time is up, the worker and all its child
    processes are killed, and a new worker continues with the next part.

    Args:
        report: receives the results.
        command: command line of a worker; the names of the parts are appended.
        shares: part -> its share of the time.
        seconds: time for all parts together.
    """
    ends = time.monotonic() + seconds
    left = list(shares)
    with tempfile.TemporaryDirectory(prefix="kmtard-") as folder:
        environment = _environment(folder)
        while left:
            with _Worker([*command, *left], environment, Path(folder)) as worker:
                left = _follow(worker, report, left, shares, ends)
    report.document["finished"] = True
    report.write()


def _follow(
    worker: _Worker,
    report: Report,
    left: Sequence[str],
    shares: Mapping[str, float],
    ends: float,
) -> list[str]:
    """Add a worker's results; return the parts that another worker must run."""
    for place, name in enumerate(left):
        began = time.monotonic()
        share = shares[name] / sum(shares[later] for later in left[place:])
        deadline = began + share * (ends - began)
        state, over = "running", False
        report.add({"part": name, "state": state})
        while state == "running":
            message = worker.message(deadline - time.monotonic())
            over = message is None
            if message is None:
                cut = worker.running()
                message = {"part": name, "state": "cut" if cut else "failed"}
                if not cut:
                    message["error"] = worker.last_words()
            report.add(message)
            if message.get("part") == name:
                state = message.get("state", state)
        report.add({"part": name, "seconds": round(time.monotonic() - began, 1)})
        if over:
            return list(left[place + 1 :])
    return []


def _environment(folder: str) -> dict[str, str]:
    root = str(Path(kmtard.__file__).parents[1])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    defaults = {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        # Our step and its rival share a GPU, so neither may reserve all of its memory.
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        # Later parts reuse what earlier parts have compiled.
        "JAX_COMPILATION_CACHE_DIR": folder,
    }
    return {**defaults, **os.environ, "PYTHONPATH": os.pathsep.join(paths)}


class _Worker:
    """A process that runs parts and writes results, one JSON object per line."""

    def __init__(
        self, command: Sequence[str], environment: dict[str, str], folder: Path
    ) -> None:
        self._log = folder / "worker.log"
        with open(self._log, "w") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment,
                # A new process group, so that its children can be ended with it.
                start_new_session=True,
            )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, args=[self._process.stdout])
        self._reader.start()

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self._lines.put(line)
        self._lines.put(None)

    def message(self, seconds: float) -> dict[str, Any] | None:
        """Return the next message; None if the time is up or the process has ended."""
        try:
            line = self._lines.get(timeout=max(0.0, seconds))
        except queue.Empty:
            return None
        if line is None:
            self._process.wait()
            return None
        return dict(json.loads(line))

    def running(self) -> bool:
        """Return whether the process is still running."""
        return self._process.poll() is None

    def last_words(self) -> str:
        """Return the process's exit code and the end of its stderr."""
        written = self._log.read_text(errors="replace")[-TAIL:]
        return f"The worker ended with exit code {self._process.poll()}. {written}"

    def __enter__(self) -> _Worker:
        """Return the worker."""
        return self

    def __exit__(self, *error: object) -> None:
        """End the process and its children."""
        # Children may outlive a process that ended by itself.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join()
        if self._process.stdout:
            self._process.stdout.close()
