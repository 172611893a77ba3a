"""Real pictures in a terminal, by sixels or kitty's graphics."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator

from textual.widget import Widget

QUESTION = "\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[c"
"""Kitty's question, to which other terminals are silent, then one that all answer."""

ATTRIBUTES = re.compile(rb"\x1b\[\?([0-9;]*)c")
SIXEL = b"4"
PATIENCE = 0.3  # seconds


def picture_widget() -> type[Widget] | None:
    """Return a widget with an attribute `image` that draws it by the terminal.

    Call this before the app starts, which then reads all that the terminal sends.

    Returns:
        A widget of the package `textual-image`; None if the terminal has no graphics.
    """
    if not _is_terminal() or "NO_COLOR" in os.environ:
        return None
    try:
        answer = ask()
    # Not every terminal can be set to a mode.
    except (OSError, termios.error):
        return None
    if not (has_sixels(answer) or has_kitty(answer)):
        return None
    try:
        from textual_image.widget import SixelImage, TGPImage
    # Half blocks need nothing that an older installation might lack.
    except ImportError:
        return None
    # Some terminals know only a part of kitty's protocol. All of these have sixels.
    return SixelImage if has_sixels(answer) else TGPImage


def has_sixels(answer: bytes) -> bool:
    r"""Return whether a terminal's answer names sixels.

    Example:
        >>> has_sixels(b"\x1b[?62;4;22c"), has_sixels(b"\x1b[?64;1c")
        (True, False)
    """
    found = ATTRIBUTES.search(answer)
    return found is not None and SIXEL in found[1].split(b";")


def has_kitty(answer: bytes) -> bool:
    r"""Return whether a terminal's answer accepts kitty's graphics.

    Example:
        >>> has_kitty(b"\x1b_Gi=31;OK\x1b\\\x1b[?62c"), has_kitty(b"\x1b[?62c")
        (True, False)
    """
    return b"\x1b_Gi=31;OK" in answer


def ask(
    source: int = pty.STDIN_FILENO,
    target: int = pty.STDOUT_FILENO,
    patience: float = PATIENCE,
) -> bytes:
    """Return what the terminal answers to `QUESTION`, possibly only a part.

    Args:
        source: descriptor of the terminal's input.
        target: descriptor of its output.
        patience: seconds to wait for the whole answer.

    Raises:
        OSError: the terminal cannot be read or written.
    """
    answer, end = b"", time.monotonic() + patience
    with _unbuffered(source):
        os.write(target, QUESTION.encode())
        while not ATTRIBUTES.search(answer):
            left = max(0.0, end - time.monotonic())
            if not select.select([source], [], [], left)[0]:
                break
            answer += os.read(source, 1024)
    return answer


@contextlib.contextmanager
def _unbuffered(source: int) -> Iterator[None]:
    """Let the terminal neither show what it answers nor wait for a line's end."""
    before = termios.tcgetattr(source)
    try:
        tty.setcbreak(source, termios.TCSANOW)
        yield
    finally:
        termios.tcsetattr(source, termios.TCSANOW, before)


def _is_terminal() -> bool:
    # textual-serve shows text only.
    return (
        sys.stdin.isatty()
        and sys.stdout.isatty()
        and "TEXTUAL_DRIVER" not in os.environ
        and os.environ.get("TERM") != "dumb"
    )
