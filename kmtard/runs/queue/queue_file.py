"""The queue's file. Many processes can change it without losing a change."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kmtard.runs import RunError, write_atomic
from kmtard.runs.files import read_regular, refuse_links, remove_leftovers
from kmtard.runs.queue.entry import Entry, read_entry

PATIENCE = 10.0  # seconds to wait for the lock, held for milliseconds
PAUSE = 0.01

SCHEMA = 1
"""Version of the queue's file; version 0.1 wrote none."""


@dataclass
class Content:
    """The content of the queue's file.

    Attributes:
        limit: number of entries that may run at the same time, at least 1.
        entries: the entries in their order.
    """

    limit: int = 1
    entries: list[Entry] = field(default_factory=list)

    def find(self, key: str) -> Entry:
        """Return the entry with an id.

        Raises:
            RunError: the entry is no longer in the queue.
        """
        for entry in self.entries:
            if entry.id == key:
                return entry
        raise RunError("This entry is no longer in the queue.")

    def update(self, key: str, **changes: Any) -> None:
        """Change values of an entry, if it is still in the queue."""
        self.entries = [
            replace(entry, **changes) if entry.id == key else entry
            for entry in self.entries
        ]

    def as_json(self) -> str:
        """Return the text of the file."""
        entries = [entry.as_json() for entry in self.entries]
        content = {"schema": SCHEMA, "limit": self.limit, "entries": entries}
        return json.dumps(content, indent=1) + "\n"


class QueueFile:
    """The queue's file, the lock around each change, and the folder for the logs.

    Args:
        folder: folder that holds them; the first change creates it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.logs = folder / "logs"
        self._path = folder / "queue.json"

    def read(self) -> Content:
        """Return the content of the file.

        A file that does not hold a queue is renamed to `damaged-*.json`, and an empty
        queue is returned.

        Raises:
            RunError: the file cannot be read, or a newer version wrote it.
        """
        try:
            return self._load()
        except ValueError:
            with self.change() as content:
                return content

    def damaged(self) -> list[Path]:
        """Return the renamed files that did not hold a queue."""
        return sorted(self.folder.glob("damaged-*.json"))

    @contextlib.contextmanager
    def change(self) -> Iterator[Content]:
        """Lock the queue, yield its content for changes, and write it if it changed.

        Raises:
            RunError: the queue cannot be locked, read or written. The file is then
                unchanged.
        """
        with self._locked():
            content = self._load_or_begin_anew()
            before = content.as_json()
            yield content
            after = content.as_json()
            if after != before:
                write_atomic(self._path, after)

    def remove_leftovers(self) -> None:
        """Remove what killed processes left half-made."""
        if self.folder.is_dir():
            with self._locked():
                remove_leftovers(self.folder)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self._refuse_links()
        try:
            self.logs.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
            descriptor = os.open(self.folder / "lock", flags, 0o666)
        except OSError as error:
            raise problem(self.folder, error) from error
        try:
            # An flock belongs to the descriptor, so it also separates threads.
            _wait_for(descriptor, self.folder)
            yield
        finally:
            os.close(descriptor)

    def _refuse_links(self) -> None:
        # A link could make the queue write or delete logs in a foreign folder.
        refuse_links(self.folder, self.logs)

    def _load(self) -> Content:
        try:
            values = json.loads(read_regular(self._path))
        except FileNotFoundError:
            return Content()
        except OSError as error:
            raise problem(self._path, error) from error
        except RecursionError as error:
            raise ValueError from error
        if not isinstance(values, dict) or type(values.get("limit")) is not int:
            raise ValueError
        schema = values.get("schema", SCHEMA)
        if isinstance(schema, int) and schema > SCHEMA:
            raise RunError(
                f"{self._path} has schema {schema}; this version of kmtard reads "
                f"schemas up to {SCHEMA}. A newer version wrote the queue: update "
                "kmtard."
            )
        if not isinstance(entries := values.get("entries"), list):
            raise ValueError
        found = [read_entry(entry, self.logs) for entry in entries]
        return Content(max(1, values["limit"]), found)

    def _load_or_begin_anew(self) -> Content:
        try:
            return self._load()
        except ValueError:
            aside = self.folder / f"damaged-{uuid.uuid4().hex[:8]}.json"
            try:
                os.replace(self._path, aside)
            except OSError as error:
                raise problem(self._path, error) from error
            return Content()


def problem(path: Path, error: OSError) -> RunError:
    """Return the error for a queue that the system does not let us use."""
    return RunError(f"Cannot use the queue in {path}: {error.strerror}.")


def _wait_for(descriptor: int, folder: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise problem(folder, error) from error
            if time.monotonic() > deadline:
                raise RunError(
                    f"Another process has held the lock {folder / 'lock'} for "
                    f"{PATIENCE:.0f} seconds. Try again, or end that process."
                ) from error
        time.sleep(PAUSE)
