"""One line of the queue."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from kmtard.runs.processes import is_same_process

STATES = ("waiting", "running", "finished", "failed", "cancelled", "unknown")
NUMBER = (int, float)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A command that waits for its turn, runs, or has ended.

    Attributes:
        id: of digits and letters, never given twice.
        title: for people.
        argv: the command.
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
    """

    id: str
    title: str
    argv: tuple[str, ...]
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
        names = (field.name for field in fields(self) if field.name != "log")
        return {name: getattr(self, name) for name in names}


TYPES: Mapping[str, tuple[type, ...]] = {
    "id": (str,),
    "title": (str,),
    "argv": (list,),
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
}


def read_entry(values: Any, logs: Path) -> Entry:
    """Return the entry that a JSON object describes.

    Args:
        values: as of `Entry.as_json`.
        logs: folder of the logs.

    Raises:
        ValueError: it describes none.
    """
    if not isinstance(values, dict):
        raise ValueError(f"Expected an entry. Received: {values!r}")
    for name, types in TYPES.items():
        if type(values.get(name)) not in types:
            raise ValueError(f"{name}: received {values.get(name)!r}")
    if values["state"] not in STATES or not re.fullmatch(r"\w+", values["id"]):
        raise ValueError(f"Received: {values['state']!r}, {values['id']!r}")
    if not values["argv"] or not all(type(word) is str for word in values["argv"]):
        raise ValueError(f"argv: received {values['argv']!r}")
    known = {name: values[name] for name in TYPES}
    log = logs / f"{values['id']}.log"
    return Entry(**{**known, "argv": tuple(values["argv"]), "log": log})
