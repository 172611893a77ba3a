"""One entry of the queue."""

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
    """A task that waits, runs, or has ended.

    Attributes:
        id: unique id of letters and digits.
        title: text that users see.
        task: the task; None for a command of version 0.1 that is not one of kmtard's
            own. Such an entry never starts.
        cwd: folder to run it in.
        backend: Keras backend; empty if the command chooses it.
        added: time when it was added, in UNIX seconds.
        log: file for its standard output and error.
        state: one of `STATES`; "unknown" if it ended while no runner was watching and
            no run says how.
        stopping: whether it was asked to end.
        host: name of the machine with its process. None, in a damaged file, counts
            as this machine.
        pid: number of its process.
        process_start: start time of its process, as returned by `process_start_time`.
        started: time when it started, in UNIX seconds.
        ended: time when it ended, in UNIX seconds.
        exit_code: exit code; negative if a signal ended it, as in `subprocess`.
        run: the run's folder, as soon as it is known.
        gpu: the only GPU that it sees; None if there was no choice.
        seal: proof that this user wrote or confirmed it on this host; see `Seal`.
        refused: the command of an entry without a task, to be shown; else empty.
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
        """The command line to start or to show."""
        return self.task.command() if self.task else list(self.refused)

    @property
    def word(self) -> str:
        """The state in the words that all lists share, with "stopping" and "stopped".

        The file says "cancelled" for what was stopped, as in version 0.1.
        """
        if self.state == "running" and self.stopping:
            return "stopping"
        return "stopped" if self.state == "cancelled" else self.state

    @property
    def is_ended(self) -> bool:
        """Whether it neither waits nor runs."""
        return self.state not in ("waiting", "running")

    @property
    def is_elsewhere(self) -> bool:
        """Whether it runs on another host."""
        here = (None, socket.gethostname())
        return self.state == "running" and self.host not in here

    @property
    def is_alive(self) -> bool:
        """Whether its process is alive on this host."""
        if self.state != "running" or self.is_elsewhere or self.pid is None:
            return False
        return is_same_process(self.pid, self.process_start)

    def as_json(self) -> dict[str, Any]:
        """Return the entry as it is stored. The path of the log follows from the id."""
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
        values: the object, as `Entry.as_json` returns it.
        logs: folder for the logs.

    Raises:
        ValueError: it does not describe an entry.
    """
    if not isinstance(values, dict):
        raise ValueError(f"Expected an object with an entry. Received: {values!r}.")
    for name, types in TYPES.items():
        if type(values.get(name)) not in types:
            allowed = " or ".join(each.__name__ for each in types)
            raise ValueError(
                f"{name}: expected {allowed}, received {values.get(name)!r}."
            )
    if not re.fullmatch(r"\w+", values["id"]):
        raise ValueError(f"id: expected letters and digits, received {values['id']!r}.")
    for name, allowed_values in (("state", STATES), ("backend", BACKENDS)):
        if values[name] not in allowed_values:
            raise ValueError(
                f"{name}: expected one of {allowed_values}, received {values[name]!r}."
            )
    task, refused = _task(values)
    known: dict[str, Any] = {name: values.get(name) for name in TYPES}
    log = logs / f"{values['id']}.log"
    return Entry(**known, task=task, refused=refused, log=log)


def _task(values: Mapping[str, Any]) -> tuple[Task | None, tuple[str, ...]]:
    if "task" in values:
        return read_task(values["task"]), ()
    # Version 0.1 wrote command lines.
    argv = values.get("argv")
    if not isinstance(argv, list) or not all(type(word) is str for word in argv):
        raise ValueError(f"argv: expected a list of texts, received {argv!r}.")
    if not argv:
        raise ValueError("argv: expected at least one word, received none.")
    task = task_of(argv)
    return task, () if task else tuple(argv)
