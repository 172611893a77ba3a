"""Processes: a number given to another process is not the same process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from kmtard.runs.processes import is_same_process, process_start_time

pytestmark = pytest.mark.once("torch")

needs_proc = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="the system has no /proc"
)


def ended_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@needs_proc
def test_start_times_are_seconds_since_boot_in_order() -> None:
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    own = process_start_time(os.getpid())
    child = subprocess.Popen(["sleep", "60"])
    try:
        start = process_start_time(child.pid)
        assert own is not None
        assert start is not None
        assert 0 < own <= uptime
        assert uptime - 1 <= start <= uptime + 10
    finally:
        child.kill()
        child.wait()


@needs_proc
@pytest.mark.parametrize("name", ["a b", "a) S 1 (b", "))((", "x)\n1 2"])
def test_a_name_with_spaces_and_parentheses_does_not_shift_the_fields(
    tmp_path: Path, name: str
) -> None:
    program = tmp_path / name
    program.symlink_to(sys.executable)
    child = subprocess.Popen(
        [str(program), "-S", "-c", "print(flush=True); import time; time.sleep(60)"],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONHOME": sys.base_prefix},
    )
    try:
        assert child.stdout is not None
        child.stdout.readline()
        assert name.encode() in Path(f"/proc/{child.pid}/stat").read_bytes()
        uptime = float(Path("/proc/uptime").read_text().split()[0])
        start = process_start_time(child.pid)
        assert start is not None
        assert uptime - 30 <= start <= uptime
    finally:
        child.kill()
        child.communicate()


def test_a_process_is_known_by_number_and_start() -> None:
    start = process_start_time(os.getpid())
    assert is_same_process(os.getpid(), start)
    assert not is_same_process(os.getpid(), (start or 0.0) + 0.01)


def test_a_process_that_ended_is_not_there() -> None:
    pid = ended_pid()
    assert process_start_time(pid) is None
    assert not is_same_process(pid, 1.0)
    assert not is_same_process(pid, None)


@pytest.mark.parametrize("start", [None, True, "1.0", [], float("nan")])
def test_without_a_start_time_there_is_no_identity(start: Any) -> None:
    assert not is_same_process(os.getpid(), start)


def test_the_clock_of_the_day_does_not_matter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = process_start_time(os.getpid())
    booted = psutil.boot_time()
    # psutil adds this to what the kernel says.
    monkeypatch.setattr(psutil._psplatform, "boot_time", lambda: booted + 3600)
    monkeypatch.setattr(psutil, "boot_time", lambda: booted + 3600)
    assert process_start_time(os.getpid()) == start


@needs_proc
def test_start_times_are_those_of_version_0_1() -> None:
    stat = Path("/proc/self/stat").read_bytes()
    ticks = int(stat[stat.rindex(b")") + 1 :].split()[19])
    assert process_start_time(os.getpid()) == ticks / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("pid", [0, -1, 2**80])
def test_a_number_that_no_process_has_is_none(pid: int) -> None:
    assert not is_same_process(pid, None)
    assert not is_same_process(pid, 1.0)


@needs_proc
def test_a_zombie_is_gone() -> None:
    child = subprocess.Popen(["sleep", "60"])
    start = process_start_time(child.pid)
    try:
        assert is_same_process(child.pid, start)
    finally:
        child.kill()
    deadline = time.monotonic() + 10
    while is_same_process(child.pid, start) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert Path(f"/proc/{child.pid}").exists()  # not yet waited for
    assert not is_same_process(child.pid, start)
    child.wait()
