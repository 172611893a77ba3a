"""Read the end of a log that another process is writing, as lines safe to show."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from kmtard.registry.bounded import open_regular
from kmtard.runs.visible import visible

PIECE = 1 << 18  # bytes of the first reading, and of each reading of earlier lines
MOST_BYTES = 1 << 22
MOST_LINES = 10_000
LONGEST = 1 << 14  # bytes; a longer line is split
TAB = 8
LOG_END = 8192  # bytes that `last_lines` reads

ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colors, cursor movements
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"  # window titles, links
    r"|\x1b[ -/]*[0-~]"
)


@dataclass(frozen=True)
class LogView:
    """Lines of a log that are in memory.

    Attributes:
        lines: the lines as plain text.
        offsets: position of each line in the file, in bytes.
        has_earlier: whether the file has earlier lines that can be read.
        note: why the file cannot be read or why there is nothing to show; else empty.
    """

    lines: tuple[str, ...] = ()
    offsets: tuple[int, ...] = ()
    has_earlier: bool = False
    note: str = ""


class LogFile:
    """Reads the end of a log, the lines added later, and earlier lines on request.

    Args:
        path: the file. It may be missing, damaged, replaced or truncated at any time.
        position: offset in bytes of a line that the first reading should include. It
            is ignored if it is too far from the end.

    Attributes:
        view: the lines in memory; a new object after each change.
    """

    def __init__(self, path: Path, position: int | None = None) -> None:
        self.path = path
        self.view = LogView()
        self._position = position
        self._stamp: tuple[int, int, int] | None = None
        self._forget()

    def _forget(self) -> None:
        self._lines: list[str] = []
        self._offsets: list[int] = []
        self._end = 0
        self._partial = b""

    def poll(self) -> bool:
        """Read the lines that were added; return whether the view changed."""
        try:
            found = os.stat(self.path)
            stamp = found.st_ino, found.st_size, found.st_mtime_ns
            if stamp == self._stamp:
                return False
            with open_regular(self.path) as file:
                self._read(file, found)
        except FileNotFoundError:
            return self._fail(f"There is no {self.path.name} yet.")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            return self._fail(f"Cannot read {self.path}: {reason}.")
        self._stamp = stamp
        self._show()
        return True

    def _fail(self, note: str) -> bool:
        changed = note != self.view.note
        self._stamp = None
        self._show(note)
        return changed

    def _read(self, file: BinaryIO, found: os.stat_result) -> None:
        size = found.st_size
        replaced = self._stamp is not None and self._stamp[0] != found.st_ino
        if replaced or size < self._end or size - self._end > PIECE:
            begin = self._first_offset(size) if not self._end else max(0, size - PIECE)
            self._forget()
            self._end = begin
            if begin:
                file.seek(begin - 1)
                self._end += len(file.readline(LONGEST)) - 1
        file.seek(self._end)
        data = file.read(size - self._end)
        start, data = self._end - len(self._partial), self._partial + data
        self._end = start + len(data)
        if self._partial:
            del self._lines[-1], self._offsets[-1]
        self._take(data, start)
        self._drop_first()

    def _first_offset(self, size: int) -> int:
        begin = max(0, size - PIECE)
        position, self._position = self._position, None
        if position is not None and 0 <= size - position <= MOST_BYTES:
            begin = min(begin, position)
        return begin

    def _take(self, data: bytes, start: int) -> None:
        self._partial = b""
        for offset, line in _split(data, start):
            self._lines.append(plain(line))
            self._offsets.append(offset)
            self._partial = line
        if self._partial.endswith(b"\n"):
            self._partial = b""

    def _drop_first(self) -> None:
        excess = len(self._lines) - MOST_LINES
        while self._offsets and self._end - self._offsets[max(0, excess)] > MOST_BYTES:
            excess = max(0, excess) + 1
        if excess > 0:
            del self._lines[:excess], self._offsets[:excess]

    def read_earlier(self) -> bool:
        """Read lines before the first one; return whether any were added.

        Nothing is added when the limit for lines in memory is reached.
        """
        if not self.view.has_earlier:
            return False
        first = self._offsets[0]
        begin = max(0, first - PIECE)
        try:
            with open_regular(self.path) as file:
                if begin:
                    file.seek(begin - 1)
                    begin += len(file.readline(LONGEST)) - 1
                file.seek(begin)
                data = file.read(max(0, first - begin))
        except OSError as error:
            return self._fail(f"Cannot read {self.path}: {error.strerror}.")
        found = list(_split(data, begin))
        self._lines[:0] = [plain(line) for _, line in found]
        self._offsets[:0] = [offset for offset, _ in found]
        self._show()
        return bool(found)

    def _show(self, note: str = "") -> None:
        first = self._offsets[0] if self._offsets else 0
        room = self._end - first < MOST_BYTES and len(self._lines) < MOST_LINES
        if not note and not self._lines:
            note = f"{self.path.name} is empty."
        self.view = LogView(
            tuple(self._lines), tuple(self._offsets), first > 0 and room, note
        )


def plain(line: bytes) -> str:
    r"""Return a line as a terminal would finally show it, without colors.

    Of a line that was overwritten, such as a progress bar, the last version is shown.
    Escape sequences are removed. Other control characters and bytes that are not UTF-8
    are replaced by a mark.

    Example:
        >>> plain(b"10%\r90%\n")
        '90%'
    """
    text = line.decode(errors="replace").rstrip("\r\n").rpartition("\r")[2]
    if not text.isprintable():
        text = visible(ESCAPES.sub("", text).expandtabs(TAB))
    return text


def _split(data: bytes, start: int) -> Iterator[tuple[int, bytes]]:
    """Return the offset and the bytes of each line, including its newline."""
    # A carriage return does not end a line: the text after it overwrites the line.
    lines = [line + b"\n" for line in data.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    for line in lines:
        for begin in range(0, len(line), LONGEST):
            piece = line[begin : begin + LONGEST]
            yield start, piece
            start += len(piece)


def last_lines(path: Path, count: int) -> list[str]:
    """Return the last lines of a log, safe to show; empty if it cannot be read."""
    lines: list[str] = []
    with contextlib.suppress(OSError):
        with open_regular(path) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - LOG_END))
            lines = [plain(line) for line in file.read(LOG_END).split(b"\n")]
    return [line for line in lines if line.strip()][-count:]
