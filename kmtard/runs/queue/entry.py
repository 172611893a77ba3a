"""One line of the queue."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from kmtard.runs.processes import is_same_process
from kmtard.runs.queue.task import Task, read_task, task_of

STATES = ("waiting", "running", "finished", "failed", "cancelled", "unknown")
NUMBER = (int, float)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A task that waits for its turn, runs, or has ended.

    Attributes:
        id: of digits and letters, never given twice.
        title: for people.
        task: what to do; None for a command of version 0.1 that is not one of
            kmtard's own, which never starts.
        refused: that command, to be shown; empty where there is a task.
        cwd: folder that it is run in.
        backend: of Keras; empty where the command knows.
        added: UNIX seconds.
        log: what it wrote to standard output and error.
        state: one of `STATES`; "unknown" if it ended while no runner watched, and no
            run tells how.
        stopping: it was asked to end.
        host: machine of its process.
        exit_code: negative if a signal ended it, as in `subprocess`.
        run: the run's folder, once it is known.
        gpu: the one GPU that it got; None where it was given no choice.
        seal: shows that this user wrote or confirmed it on this host; see `Seal`.
    """

    id: str
    title: str
    task: Task | None
    cwd: str
    backend: str
    added: float
    log: Path
    state: str = "waiting"
    stopping: bool = False
    host: str | None = None
    pid: int | None = None
    process_start: float | None = None
    started: float | None = None
    ended: float | None = None
    exit_code: int | None = None
    run: str | None = None
    gpu: str | None = None
    seal: str | None = None
    refused: tuple[str, ...] = ()

    @property
    def command(self) -> list[str]:
        """The command line, to start or to show."""
        return self.task.command() if self.task else list(self.refused)

    @property
    def is_ended(self) -> bool:
        """Whether it neither waits nor runs."""
        return self.state not in ("waiting", "running")

    @property
    def is_elsewhere(self) -> bool:
        """Whether it runs on another host."""
        return self.state == "running" and self.host != socket.gethostname()

    @property
    def is_alive(self) -> bool:
        """Whether its process lives on this host."""
        if self.state != "running" or self.is_elsewhere or self.pid is None:
            return False
        return is_same_process(self.pid, self.process_start)

    def as_json(self) -> dict[str, Any]:
        """Return what the queue's file holds; the log's place follows from the id."""
        left_out = ("log", "task", "refused")
        names = (field.name for field in fields(self) if field.name not in left_out)
        values = {name: getattr(self, name) for name in names}
        if self.task is not None:
            return {**values, "task": self.task.as_json()}
        return {**values, "argv": list(self.refused)}


TYPES: Mapping[str, tuple[type, ...]] = {
    "id": (str,),
    "title": (str,),
    "cwd": (str,),
    "backend": (str,),
    "added": NUMBER,
    "state": (str,),
    "stopping": (bool,),
    "host": (str, type(None)),
    "pid": (int, type(None)),
    "process_start": (*NUMBER, type(None)),
    "started": (*NUMBER, type(None)),
    "ended": (*NUMBER, type(None)),
    "exit_code": (int, type(None)),
    "run": (str, type(None)),
    "gpu": (str, type(None)),
    "seal": (str, type(None)),
}
BACKENDS = ("", "jax", "tensorflow", "torch")


def read_entry(values: Any, logs: Path) -> Entry:
    """Return the entry that a JSON object describes.

    Args:
        values: as of `Entry.as_json`.
        logs: folder of the logs.

    Raises:
        ValueError: it does not describe an entry.
    """
    if not isinstance(values, dict):
        raise ValueError(f"Expected an entry. Received: {values!r}")
    for name, types in TYPES.items():
        if type(values.get(name)) not in types:
            raise ValueError(f"{name}: received {values.get(name)!r}")
    if values["state"] not in STATES or not re.fullmatch(r"\w+", values["id"]):
        raise ValueError(f"Received: {values['state']!r}, {values['id']!r}")
    if values["backend"] not in BACKENDS:
        raise ValueError(f"backend: received {values['backend']!r}")
    task, refused = _task(values)
    known: dict[str, Any] = {name: values.get(name) for name in TYPES}
    log = logs / f"{values['id']}.log"
    return Entry(**known, task=task, refused=refused, log=log)


def _task(values: Mapping[str, Any]) -> tuple[Task | None, tuple[str, ...]]:
    if "task" in values:
        return read_task(values["task"]), ()
    # Version 0.1 wrote command lines.
    argv = values.get("argv")
    if not isinstance(argv, list) or not argv:
        raise ValueError(f"argv: received {argv!r}")
    if not all(type(word) is str for word in argv):
        raise ValueError(f"argv: received {argv!r}")
    task = task_of(argv)
    return task, () if task else tuple(argv)
