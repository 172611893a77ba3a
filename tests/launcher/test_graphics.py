"""Pictures by the terminal's own graphics, if it says that it has them."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fcntl import ioctl

import pytest

from kmtard.runs import Run
from launcher import graphics
from launcher.graphics import ask, has_kitty, has_sixels, picture_widget
from tests.launcher.robustness_fixtures import make_robust

__all__ = ["make_robust"]

PLAIN, SIXEL, KITTY = b"\x1b[?64;1;22c", b"\x1b[?62;4;22c", b"\x1b[?62;22c"
PATIENCE = 20.0  # seconds


@contextmanager
def terminal() -> Iterator[tuple[int, int]]:
    """Yield the two ends of a terminal: its own, and that of a program."""
    ours, theirs = pty.openpty()
    try:
        yield ours, theirs
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize(
    ("answer", "sixels", "kitty"),
    [
        (PLAIN, False, False),
        (SIXEL, True, False),
        (b"\x1b[?4c", True, False),
        (b"\x1b[?64;14;44c", False, False),
        (b"\x1b_Gi=31;OK\x1b\\" + KITTY, False, True),
        (b"\x1b_Gi=31;ENOTSUPPORTED:no\x1b\\" + PLAIN, False, False),
        (b"", False, False),
    ],
)
def test_what_an_answer_means(answer: bytes, sixels: bool, kitty: bool) -> None:
    assert (has_sixels(answer), has_kitty(answer)) == (sixels, kitty)


def test_a_terminal_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal() as (ours, theirs):
        before = termios.tcgetattr(theirs)

        def reply() -> None:
            asked = b""
            while not asked.endswith(b"\x1b[c"):
                asked += os.read(ours, 100)
            # An answer can come in pieces.
            os.write(ours, SIXEL[:5])
            time.sleep(0.05)
            os.write(ours, SIXEL[5:])

        thread = threading.Thread(target=reply)
        thread.start()
        assert ask(theirs, theirs, PATIENCE) == SIXEL
        thread.join()
        assert termios.tcgetattr(theirs) == before


def test_a_silent_terminal_does_not_hold_up_the_start() -> None:
    with terminal() as (_, theirs):
        before = termios.tcgetattr(theirs)
        began = time.monotonic()
        assert ask(theirs, theirs, 0.05) == b""
        assert time.monotonic() - began < 5
        assert termios.tcgetattr(theirs) == before


def test_without_a_terminal_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> bytes:
        raise AssertionError("nobody must be asked")

    monkeypatch.setattr(graphics, "ask", fail)
    assert picture_widget() is None
    monkeypatch.setattr(graphics, "_is_terminal", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert picture_widget() is None


@pytest.mark.parametrize(
    ("answer", "name"), [(PLAIN, None), (b"", None), (SIXEL, "SixelImage")]
)
def test_the_widget(
    monkeypatch: pytest.MonkeyPatch, answer: bytes, name: str | None
) -> None:
    if name:
        pytest.importorskip("textual_image.widget")
    monkeypatch.setattr(graphics, "_is_terminal", lambda: True)
    monkeypatch.setattr(graphics, "ask", lambda: answer)
    widget = picture_widget()
    if name is None:
        assert widget is None
    else:
        from textual_image import widget as widgets

        assert widget is widgets.SixelImage
        monkeypatch.setattr(graphics, "ask", lambda: b"\x1b_Gi=31;OK\x1b\\" + KITTY)
        assert picture_widget() is widgets.TGPImage


def test_a_terminal_that_cannot_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> bytes:
        raise termios.error(25, "Inappropriate ioctl for device")

    monkeypatch.setattr(graphics, "_is_terminal", lambda: True)
    monkeypatch.setattr(graphics, "ask", fail)
    assert picture_widget() is None


@pytest.mark.parametrize(
    ("attributes", "accepts", "drawn"),
    [
        # A square image: a cell is twice as high as it is wide.
        (KITTY, True, rb"\x1b_Ga=p,i=\d+,c=38,r=19,U=1,q=2"),
        (SIXEL, False, rb'\x1bP[0-9;]*q"1;1;380;380'),
    ],
)
def test_the_launcher_draws_by_the_terminal(
    make_robust: Callable[..., Run], attributes: bytes, accepts: bool, drawn: bytes
) -> None:
    pytest.importorskip("textual_image")
    run = make_robust()
    words = [sys.executable, "-m", "launcher.main", "--runs", str(run.path.parent)]
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    # They stand above the size of the terminal.
    for name in ("COLUMNS", "LINES"):
        environment.pop(name, None)
    with terminal() as (ours, theirs):
        ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 1200, 800))
        process = subprocess.Popen(
            [*words, "--attach", str(run.path)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment,
            start_new_session=True,
        )
        try:
            assert re.search(drawn, _talk(ours, attributes, accepts, drawn))
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()


def _talk(ours: int, attributes: bytes, accepts: bool, drawn: bytes) -> bytes:
    """Answer as a terminal, open the screen, and return what was written."""
    written, answered, pressed = b"", 0, 0.0
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and not re.search(drawn, written):
        if select.select([ours], [], [], 0.2)[0]:
            written += os.read(ours, 65536)
        for asked in re.finditer(
            rb"\x1b_Gi=(\d+),s=1,v=1,a=q[^\x1b]*\x1b\\|\x1b\[c", written[answered:]
        ):
            if asked[1] is None:
                os.write(ours, attributes)
            elif accepts:
                os.write(ours, b"\x1b_Gi=%s;OK\x1b\\" % asked[1])
            answered += asked.end()
            break
        if (
            # Again after a while: on a busy machine the run was not yet on the screen.
            time.monotonic() > pressed + 5
            and b"finished" in written
            and not select.select([ours], [], [], 0.5)[0]
        ):
            os.write(ours, b"i")
            pressed = time.monotonic()
    return written
