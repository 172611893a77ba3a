from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kmtard.benchmarks.terminal import FRAME_END, TerminalError, opened

pytestmark = pytest.mark.once("torch")

PROGRAM = """
import os, sys, tty
tty.setraw(0)
sys.stdout.write("\\x1b[?20")
sys.stdout.flush()
sys.stdout.write("26$p")
sys.stdout.flush()
answer = os.read(0, 100)
size = os.get_terminal_size()
print(f"mode {answer[1:]!r} of {size.columns}x{size.lines}", flush=True)
while key := os.read(0, 1):
    sum(range(5_000_000))  # the system counts processor time in hundredths of a second
    print("key", key, end="\\x1b[?2026l", flush=True)
"""


def test_a_program_is_answered_watched_and_ended(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM]
    with opened(command, tmp_path, columns=70, rows=20) as terminal:
        terminal.wait_for(rb"mode b'\[\?2026;2\$y' of 70x20")
        start = len(terminal.output)
        pressed = terminal.press(b"j")
        assert terminal.wait_for(b"key b'j'", start=start) >= pressed > terminal.began
        terminal.watch(0.1)
        # It was answered once.
        assert terminal.output[start:].count(FRAME_END) == 1
        assert 0 < terminal.cpu_seconds() < 60
        assert 1 < terminal.memory() < 1000
        process = terminal._process
    assert process.returncode == -9


def test_what_does_not_appear_is_said(tmp_path: Path) -> None:
    with opened([sys.executable, "-c", "print('other')"], tmp_path) as terminal:
        with pytest.raises(TerminalError, match="Expected b'wanted'.*other"):
            terminal.wait_for(b"wanted")
        terminal.watch(5)  # ends with the program
    with opened(["sleep", "9"], tmp_path) as terminal:
        with pytest.raises(TerminalError, match="within 0.1 s"):
            terminal.wait_for(b"wanted", patience=0.1)
