"""The events of a run: one JSON object a line, appended whole, read while it grows."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from kmtard.registry.bounded import open_regular
from kmtard.runs.files import RunError, append_regular
from kmtard.runs.intact import CRC

EVENTS = (
    "run_started",
    "phase_started",
    "step",
    "epoch",
    "evaluation",
    "warning",
    "run_finished",
    "run_stopped",
    "run_failed",
)
RESERVED = ("event", "time", "non_finite", CRC)
SUM = b', "%s": "' % CRC.encode()
PIECE = 1 << 20  # bytes read at a time
LONGEST_LINE = 1 << 24  # bytes
STEP = b'{"event": "step"'  # the beginning of a line as `EventWriter` writes it
OTHER_LINE = re.compile(rb"\n(?!%s)" % re.escape(STEP))


class EventWriter:
    """Appends events to a file, from any thread.

    Each event is one write of one line, so that a process killed at any moment leaves
    at most one torn line, which the next writer closes.

    Args:
        path: the file; made with the first event, in a folder that exists.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        # Reentrant: a signal handler may write while its own thread is writing.
        self._lock = threading.RLock()

    def write(self, event: str, /, **fields: Any) -> None:
        """Append one event, with `time` in UNIX seconds.

        Numbers that are not finite become null; their dotted names (`metrics.loss`)
        are listed in `non_finite`.

        Args:
            event: one of `EVENTS`.
            **fields: numbers, strings, None, anything with `.item()` (a scalar of
                numpy, jax or torch), and lists and mappings of these.

        Raises:
            ValueError: the event is unknown, or a field has a name of `RESERVED`.
            TypeError: a value cannot be written as JSON.
            RunError: the file cannot be written, as on a full disk.
        """
        if event not in EVENTS:
            allowed = ", ".join(EVENTS)
            raise ValueError(f"`event` must be one of {allowed}. Received: {event!r}")
        if taken := [name for name in fields if name in RESERVED]:
            raise ValueError(f"Fields may not be named {', '.join(taken)} ({event}).")
        non_finite: list[str] = []
        record = {"event": event, "time": time.time()}
        record |= _plain(fields, (), non_finite)
        if non_finite:
            record["non_finite"] = non_finite
        line = _sealed(json.dumps(record, allow_nan=False).encode())
        try:
            with self._lock:
                _append(self.path, line)
        except OSError as error:
            raise RunError(
                f"Cannot write the event {event} to {self.path}: {error.strerror}."
            ) from error


def _append(path: Path, line: bytes) -> None:
    # Opened for each line: a folder deleted under a run is then an error, not a loss.
    with append_regular(path) as file:
        descriptor = file.fileno()
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            line = b"\n" + line
        if os.write(descriptor, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _sealed(line: bytes) -> bytes:
    # At its end, so that it is found without a look at the rest.
    return b'%s%s%08x"}\n' % (line[:-1], SUM, zlib.crc32(line))


def _unsealed(line: bytes) -> bytes:
    """Return an event without its checksum.

    Raises:
        ValueError: the line is not as it was written.
    """
    text, mark, end = line.rpartition(SUM)
    if not mark:
        return line
    text += b"}"
    if end != b'%08x"}' % zlib.crc32(text):
        raise ValueError
    return text


def _plain(value: Any, path: tuple[str, ...], non_finite: list[str]) -> Any:
    if isinstance(value, Mapping):
        return {
            str(key): _plain(item, (*path, str(key)), non_finite)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [
            _plain(item, (*path, str(index)), non_finite)
            for index, item in enumerate(value)
        ]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        non_finite.append(".".join(path))
        return None
    return value


class EventReader:
    """Reads the events of a file that another process may be writing.

    Args:
        path: the file, which need not exist yet.
        containing: parse only lines that hold these bytes; much quicker on long files
            than parsing each line.

    Attributes:
        restarts: how often the file had shrunk and was read again from its start.
        skipped: lines, since the last start, that are no JSON object in UTF-8, do
            not fit their checksum, or are longer than any event.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, containing: bytes = b""
    ) -> None:
        self.path = Path(path)
        self.containing = containing
        self.restarts = 0
        self._rewind()

    def _rewind(self) -> None:
        self.skipped = 0
        self._offset = 0
        self._partial = b""

    def poll(self) -> list[dict[str, Any]]:
        """Return the events completed since the last poll, oldest first.

        A last line without its newline waits for the next poll. After a shrink
        (`restarts` has grown) these are all events of the file. A file that is
        missing counts as empty.

        Raises:
            OSError: the file is there and cannot be read.
        """
        try:
            with open_regular(self.path) as file:
                return self._read(file)
        except FileNotFoundError:
            self._restart_if_shrunk(0)
            return []

    def read_all(self) -> list[dict[str, Any]]:
        """Return all complete events from the start; `poll` goes on from there."""
        self._rewind()
        return self.poll()

    def _restart_if_shrunk(self, size: int) -> None:
        if size < self._offset:
            self._rewind()
            self.restarts += 1

    def _read(self, file: BinaryIO) -> list[dict[str, Any]]:
        size = os.fstat(file.fileno()).st_size
        self._restart_if_shrunk(size)
        events: list[dict[str, Any]] = []
        if size == self._offset:
            return events
        file.seek(self._offset)
        while piece := file.read(PIECE):
            self._offset += len(piece)
            lines, newline, rest = (self._partial + piece).rpartition(b"\n")
            self._partial = rest
            if len(self._partial) > LONGEST_LINE:
                self._partial = b""
                self.skipped += 1
            if newline:
                events += self.parse(lines)
        return events

    def parse(self, lines: bytes) -> list[dict[str, Any]]:
        """Return the events in complete lines; subclasses may choose among them.

        Args:
            lines: without the newline of the last one.
        """
        # Most pieces of a long file hold nothing that is looked for.
        if self.containing not in lines:
            return []
        found = lines.split(b"\n")
        return self.decode([line for line in found if self.containing in line])

    def decode(self, lines: Sequence[bytes]) -> list[dict[str, Any]]:
        """Return the events in single lines, and count those that hold none."""
        events = []
        for line in lines:
            try:
                event = json.loads(_unsealed(line).decode())
            except (ValueError, RecursionError):
                event = None
            if isinstance(event, dict):
                events.append(event)
            else:
                self.skipped += 1
        return events


class EventStream(EventReader):
    """Hands events on while it reads a long file, and keeps none.

    Nearly all lines of a long file are steps. A running epoch is known by its last
    step, so those that another step follows are left out.

    Args:
        path: the file.
        take: called with the events of each piece of the file.
        with_steps: False leaves out all steps.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        take: Callable[[Sequence[Mapping[str, Any]]], None],
        *,
        with_steps: bool = True,
    ) -> None:
        super().__init__(path)
        self.take = take
        self.with_steps = with_steps

    @property
    def done(self) -> int:
        """Bytes that have been read."""
        return self._offset

    def parse(self, lines: bytes) -> list[dict[str, Any]]:
        """Hand on the new events, and return nothing."""
        starts = _starts(lines, self.with_steps)
        self.take(self.decode([_line_at(lines, start) for start in starts]))
        return []


def _starts(lines: bytes, with_steps: bool) -> list[int]:
    """Return where lines begin that are no steps, or steps that no step follows."""
    starts = [] if lines.startswith(STEP) else [0]

    def add_line_before(end: int) -> None:
        start = lines.rfind(b"\n", 0, end) + 1
        if start not in starts[-1:]:
            starts.append(start)

    # One search for the few other lines is much quicker than a look at each line.
    for found in OTHER_LINE.finditer(lines):
        if with_steps:
            add_line_before(found.start())
        starts.append(found.end())
    if with_steps:
        add_line_before(len(lines))
    return starts


def _line_at(lines: bytes, start: int) -> bytes:
    end = lines.find(b"\n", start)
    return lines[start:] if end < 0 else lines[start:end]
