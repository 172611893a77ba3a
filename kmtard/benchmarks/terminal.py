"""A pseudo terminal that runs a program and notices when it draws a frame."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

ANSWERS = {
    # Kitty's and Sixel's graphics are not supported; the attributes are those of VT220.
    b"\x1b[c": b"\x1b[?62c",
    # Frames are sent as synchronized updates, so that their end is known.
    b"\x1b[?2026$p": b"\x1b[?2026;2$y",
}
"""What a program asks a terminal, and what this one answers."""

FRAME_END = b"\x1b[?2026l"
PATIENCE = 60.0  # seconds
CHUNK = 2**16  # bytes


class TerminalError(Exception):
    """The program did not draw what was expected."""


class Terminal:
    """A program in a terminal that supports synchronized updates.

    Times are those of `time.perf_counter`, at which the bytes had been received.

    Args:
        command: the program and its arguments.
        folder: its working folder.
        variables: environment variables to add.
        columns: width in cells, > 0.
        rows: height in cells, > 0.

    Attributes:
        began: time at which the program was started.
        output: all bytes that the program has written.

    Example:
        >>> with opened(["echo", "hello"], Path.cwd()) as terminal:
        ...     terminal.wait_for(b"hello") > terminal.began
        True
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        variables: Mapping[str, str] | None = None,
        *,
        columns: int = 120,
        rows: int = 40,
    ) -> None:
        self._file, inner = pty.openpty()
        termios.tcsetwinsize(inner, (rows, columns))
        names = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
        self.output = bytearray()
        self._answered = 0
        self.began = time.perf_counter()
        # In a session of its own, with the terminal as the controlling one.
        self._process = subprocess.Popen(
            command,
            stdin=inner,
            stdout=inner,
            stderr=inner,
            cwd=folder,
            env={**os.environ, **names, **(variables or {})},
            start_new_session=True,
        )
        os.close(inner)
        self._watched = psutil.Process(self._process.pid)

    def cpu_seconds(self) -> float:
        """Return the processor time of the program without its children, in seconds."""
        times = self._watched.cpu_times()
        return float(times.user + times.system)

    def memory(self) -> float:
        """Return the resident memory of the program, in MiB."""
        return float(self._watched.memory_info().rss / 2**20)

    def press(self, keys: bytes) -> float:
        """Send keys; return the time before they were sent."""
        now = time.perf_counter()
        os.write(self._file, keys)
        return now

    def wait_for(
        self, pattern: bytes, *, start: int = 0, patience: float = PATIENCE
    ) -> float:
        """Return the time when a regular expression is in the output.

        Args:
            pattern: matched against the bytes, with control sequences.
            start: position in `output` from which to search.
            patience: seconds to wait.

        Raises:
            TerminalError: it did not appear in this time, or the program has ended.
        """
        end = time.perf_counter() + patience
        wanted = re.compile(pattern)
        while not wanted.search(self.output, start):
            left = end - time.perf_counter()
            if left <= 0 or not self._read(left):
                ending = self.output[-500:].decode(errors="replace")
                raise TerminalError(
                    f"Expected {pattern!r} on the screen within {patience:g} s. "
                    f"The program wrote {len(self.output)} bytes, at the end: "
                    f"{ending!r}"
                )
        return time.perf_counter()

    def watch(self, seconds: float) -> None:
        """Read and answer what the program writes, for some seconds."""
        end = time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            if not self._read(left):
                return

    def close(self) -> None:
        """End the program."""
        self._process.kill()
        self._process.wait()
        os.close(self._file)

    def _read(self, seconds: float) -> bool:
        """Read once; return whether the program may write more."""
        if not select.select([self._file], [], [], max(0.0, seconds))[0]:
            return True
        try:
            found = os.read(self._file, CHUNK)
        # Linux reports the end of a terminal's program as an error.
        except OSError:
            return False
        self.output += found
        for question, answer in ANSWERS.items():
            # A question may begin in one part and end in the next.
            begin = max(0, self._answered + 1 - len(question))
            if question in self.output[begin:]:
                os.write(self._file, answer)
        self._answered = len(self.output)
        return bool(found)


@contextlib.contextmanager
def opened(
    command: Sequence[str],
    folder: Path,
    variables: Mapping[str, str] | None = None,
    *,
    columns: int = 120,
    rows: int = 40,
) -> Iterator[Terminal]:
    """Run a program in a `Terminal`, and end it at the end of the block."""
    terminal = Terminal(command, folder, variables, columns=columns, rows=rows)
    try:
        yield terminal
    finally:
        terminal.close()
