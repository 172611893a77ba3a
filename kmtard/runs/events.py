"""Write and read the events of a run: a file with one JSON object per line.

The file can be read while another process appends to it.
"""

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
from kmtard.runs.files import append_regular, cannot_write
from kmtard.runs.intact import CRC

EVENTS = (
    "run_started",
    "phase_started",
    "step",
    "epoch",
    "evaluation",
    "system",
    "warning",
    "run_finished",
    "run_stopped",
    "run_failed",
)
RESERVED = ("event", "time", "non_finite", CRC)
SUM = b', "%s": "' % CRC.encode()
PIECE = 1 << 20  # bytes read at a time
LONGEST_LINE = 1 << 24  # bytes
STEP = b'{"event": "step"'  # beginning of a step's line as `EventWriter` writes it
OTHER_LINE = re.compile(rb"\n(?!%s)" % re.escape(STEP))


class EventWriter:
    """Appends events to a file, from any thread.

    Each event is one line, written by one system call. A process killed at any moment
    therefore leaves at most one incomplete line, and the next writer ends that line.

    Args:
        path: the file, in a folder that exists. The first event creates the file.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "events.jsonl"
        >>> EventWriter(path).write("warning", message="low disk space")
        >>> [event["message"] for event in EventReader(path).poll()]
        ['low disk space']
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        # Reentrant: a signal handler may write while its own thread is writing.
        self._lock = threading.RLock()

    def write(self, event: str, /, **fields: Any) -> None:
        """Append one event, with `time` in UNIX seconds.

        Numbers that are not finite become null, and their dotted names, such as
        `metrics.loss`, are listed in the field `non_finite`.

        Args:
            event: one of `EVENTS`.
            **fields: numbers, strings, None, anything with `.item()` (a scalar from
                NumPy, JAX or PyTorch), and lists and mappings of these.

        Raises:
            ValueError: the event is unknown, or a field has a name in `RESERVED`.
            TypeError: a value cannot be written as JSON.
            RunError: the file cannot be written, for example because the disk is full.
        """
        if event not in EVENTS:
            allowed = ", ".join(EVENTS)
            raise ValueError(f"`event` must be one of {allowed}. Received: {event!r}.")
        if taken := [name for name in fields if name in RESERVED]:
            raise ValueError(
                f"The event {event} has fields with reserved names: "
                f"{', '.join(taken)}. Rename them."
            )
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
            raise cannot_write(self.path, error) from error


def _append(path: Path, line: bytes) -> None:
    # Opened for each line, so that a deleted run folder gives an error. An open file
    # would take further events without one, and they would be lost.
    with append_regular(path) as file:
        descriptor = file.fileno()
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            line = b"\n" + line
        if os.write(descriptor, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _sealed(line: bytes) -> bytes:
    # The checksum is at the end, so that it is found without parsing the line.
    return b'%s%s%08x"}\n' % (line[:-1], SUM, zlib.crc32(line))


def _unsealed(line: bytes) -> bytes:
    """Return an event without its checksum.

    Raises:
        ValueError: the line is damaged.
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
        path: the file. It may not exist yet.
        containing: parse only lines that contain these bytes. On long files this is
            much faster than parsing every line.

    Attributes:
        restarts: how often the file had become shorter and was read again from its
            start.
        skipped: number of lines since the last start that are not a JSON object in
            UTF-8, do not match their checksum, or are longer than 16 MiB.
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
        """Return the events that were completed since the last poll, oldest first.

        A last line without a newline is left for the next poll. If the file has become
        shorter, all its events are returned and `restarts` increases. A missing file
        counts as empty.

        Raises:
            OSError: the file exists but cannot be read.
        """
        try:
            with open_regular(self.path) as file:
                return self._read(file)
        except FileNotFoundError:
            self._restart_if_shrunk(0)
            return []

    def read_all(self) -> list[dict[str, Any]]:
        """Return all complete events of the file. `poll` continues after them."""
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
        """Return the events in complete lines. Subclasses may skip some of them.

        Args:
            lines: the bytes of the lines, without the newline of the last one.
        """
        # Most parts of a long file do not contain the bytes.
        if self.containing not in lines:
            return []
        found = lines.split(b"\n")
        return self.decode([line for line in found if self.containing in line])

    def decode(self, lines: Sequence[bytes]) -> list[dict[str, Any]]:
        """Return the event of each line; lines without one are added to `skipped`."""
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
    """Passes events to a function while it reads a long file, and stores none.

    Nearly all lines of a long file are steps. Only the latest step of an epoch is of
    interest, so a step that is followed by another step is skipped.

    Args:
        path: the file.
        take: called with a list of events for each part of the file that is read.
        with_steps: whether to pass the last step before each other event. If not, only
            a step at the end of what is read is passed.
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
        """Number of bytes that have been read."""
        return self._offset

    def parse(self, lines: bytes) -> list[dict[str, Any]]:
        """Pass the events to `take`, and return an empty list."""
        starts = _starts(lines, self.with_steps)
        self.take(self.decode([_line_at(lines, start) for start in starts]))
        return []


def _starts(lines: bytes, with_steps: bool) -> list[int]:
    """Return the starts of all lines, except steps that `EventStream` skips."""
    starts = [] if lines.startswith(STEP) else [0]

    def add_line_before(end: int) -> None:
        start = lines.rfind(b"\n", 0, end) + 1
        if start not in starts[-1:]:
            starts.append(start)

    # Searching for the few other lines is much faster than checking every line.
    for found in OTHER_LINE.finditer(lines):
        if with_steps:
            add_line_before(found.start())
        starts.append(found.end())
    add_line_before(len(lines))
    return starts


def _line_at(lines: bytes, start: int) -> bytes:
    end = lines.find(b"\n", start)
    return lines[start:] if end < 0 else lines[start:end]
