from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmtard.runs.log_file import (
    LONGEST,
    MOST_BYTES,
    MOST_LINES,
    PIECE,
    LogFile,
    last_lines,
    plain,
)

pytestmark = pytest.mark.once("torch")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.log"


def numbered(first: int, last: int) -> bytes:
    return b"".join(b"line %06d %s\n" % (n, b"." * 40) for n in range(first, last))


def add(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def test_lines_come_as_they_are_written(path: Path) -> None:
    log = LogFile(path)
    assert log.poll() and log.view.note == "There is no out.log yet."
    assert not log.poll()
    add(path, b"")
    assert log.poll() and log.view.note == "out.log is empty."
    add(path, "one\ntwo \u4e2d".encode()[:-1])
    assert log.poll() and log.view.lines == ("one", "two \ufffd")
    add(path, "\u4e2d".encode()[-1:] + b"!\nthree")
    assert log.poll() and log.view.lines == ("one", "two \u4e2d!", "three")
    assert log.view.offsets == (0, 4, 13) and not log.poll()


def test_only_the_end_of_a_huge_file_is_read_and_more_on_demand(path: Path) -> None:
    count = 4 * PIECE // 53
    path.write_bytes(numbered(0, count))
    log = LogFile(path)
    assert log.poll()
    first = log.view.lines[0]
    assert log.view.lines[-1].startswith(f"line {count - 1:06}")
    assert len(log.view.lines) < PIECE // 50 and log.view.has_earlier
    assert log.read_earlier()
    assert first in log.view.lines[1:] and log.view.lines[0] < first
    numbers = [int(line.split()[1]) for line in log.view.lines]
    assert numbers == list(range(numbers[0], count))
    assert log.view.offsets[0] == numbers[0] * 53


def test_memory_is_bounded(path: Path) -> None:
    path.write_bytes(b"\n" * 3 * PIECE)
    log = LogFile(path)
    log.poll()
    while log.read_earlier():
        assert len(log.view.lines) <= MOST_LINES + PIECE
    for _ in range(3):
        add(path, numbered(0, 4000))
        log.poll()
    assert len(log.view.lines) <= MOST_LINES and not log.view.has_earlier
    for _ in range(MOST_BYTES // PIECE + 2):
        add(path, b"x" * (PIECE - 1))
        log.poll()
    assert sum(map(len, log.view.lines)) <= MOST_BYTES + PIECE
    assert max(map(len, log.view.lines)) <= LONGEST


def test_a_file_that_is_cut_or_replaced(path: Path) -> None:
    path.write_bytes(numbered(0, 10))
    log = LogFile(path)
    log.poll()
    os.truncate(path, 53)
    assert log.poll() and len(log.view.lines) == 1
    other = path.with_name("other")
    other.write_bytes(numbered(500, 520))
    os.replace(other, path)
    assert log.poll() and log.view.lines[0].startswith("line 000500")
    path.unlink()
    assert log.poll() and log.view.note and len(log.view.lines) == 20


def test_what_is_no_file(path: Path) -> None:
    os.mkfifo(path)
    log = LogFile(path)
    assert log.poll() and "not a regular file" in log.view.note


def test_a_place_is_found_again_if_near_enough(path: Path) -> None:
    path.write_bytes(numbered(0, 3 * PIECE // 53))
    log = LogFile(path, position=53 * 8000)
    log.poll()
    assert log.view.offsets[0] == 53 * 8000
    assert log.view.lines[0].startswith("line 008000")
    far = LogFile(path, position=10**9)
    assert far.poll() and far.view.offsets[0] > PIECE


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b" 10%\r 50%\r 99%", " 99%"),
        (b"done\r\n", "done"),
        (b"\x1b[31mred\x1b[0m \x1b]0;title\x07text", "red text"),
        (b"\x1b[2J\x1b[H\x1bcback\x08space", "back\ufffdspace"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"a\tb", "a       b"),
        (b"[bold]x[/bold]", "[bold]x[/bold]"),
        ("\u202eright to left".encode(), "\ufffdright to left"),
    ],
)
def test_what_a_terminal_would_obey_is_harmless(line: bytes, shown: str) -> None:
    assert plain(line) == shown


@given(data=st.binary(max_size=400), cuts=st.lists(st.integers(0, 400), max_size=4))
def test_any_bytes_are_read_the_same_in_pieces(
    data: bytes, cuts: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("logs") / "out.log"
    log = LogFile(path)
    done = 0
    for cut in [*sorted(cuts), len(data)]:
        add(path, data[done:cut])
        done = max(done, cut)
        log.poll()
    whole = LogFile(path)
    whole.poll()
    assert log.view.lines == whole.view.lines
    assert log.view.offsets == whole.view.offsets
    assert all(line.isprintable() for line in log.view.lines)


def test_the_end_of_a_log_is_plain_text(tmp_path: Path) -> None:
    path = tmp_path / "out.log"
    path.write_bytes(b"x" * 20_000 + b"\n50 %\r100 %\n\n\x1b[31m\xffred\x1b[0m\nlast")

    assert last_lines(path, 3) == ["100 %", "�red", "last"]
    assert last_lines(tmp_path / "none", 3) == []


def test_a_pipe_in_place_of_a_log_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "out.log")

    assert last_lines(tmp_path / "out.log", 3) == []
