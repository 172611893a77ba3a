"""Files: an atomic write is all or nothing, a lock lasts as long as its process."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import kmtard.runs.files
from kmtard.runs.files import RunError, lock_for_life, write_atomic

pytestmark = pytest.mark.once("torch")

ROOT = Path(kmtard.runs.files.__file__).parents[2]
HOLD = """
import sys, time
from kmtard.runs.files import lock_for_life
lock_for_life(sys.argv[1])
print("held", flush=True)
time.sleep(60)
"""


def hold(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.parametrize("data", [b"\x00\xff", "schön\n", "", b""])
def test_content_is_written_as_it_is(tmp_path: Path, data: bytes | str) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    write_atomic(path, data)
    assert path.read_bytes() == (data.encode() if isinstance(data, str) else data)
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_atomic(tmp_path / "atomic", "x")
    modes = {path.name: path.stat().st_mode for path in tmp_path.iterdir()}
    assert modes["atomic"] == modes["plain"]


@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_a_failure_keeps_the_old_content_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "run.json"
    write_atomic(path, "old")

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(RunError, match=r"run\.json: No space left on device"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupt_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "file", "new")
    assert list(tmp_path.iterdir()) == []


def test_content_reaches_the_disk_before_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    fsync, replace = os.fsync, os.replace

    def record_fsync(descriptor: int) -> None:
        calls.append("folder" if os.path.isdir(f"/dev/fd/{descriptor}") else "file")
        fsync(descriptor)

    def record_replace(source: Path, target: Path) -> None:
        assert source.parent == target.parent
        calls.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "replace", record_replace)
    write_atomic(tmp_path / "file", "new")
    assert calls == ["file", "replace", "folder"]


@pytest.mark.parametrize("path", ["missing/file", "plain/file"])
def test_a_folder_that_is_none_is_an_error(tmp_path: Path, path: str) -> None:
    (tmp_path / "plain").touch()
    with pytest.raises(RunError, match="Cannot write"):
        write_atomic(tmp_path / path, "x")


def test_a_lock_excludes_until_its_process_is_killed(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    child = hold(path)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        with pytest.raises(RunError, match="another process"):
            lock_for_life(path)
    finally:
        child.kill()
        child.communicate()
    assert path.exists()
    lock_for_life(path)
    lock_for_life(path)  # the holder may lock again
    late = hold(path)
    _, errors = late.communicate(timeout=30)
    assert late.returncode == 1
    assert "LockedError" in errors


def test_a_forked_child_neither_holds_nor_lifts_the_lock(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, sys, time\n"
            "from kmtard.runs.files import lock_for_life\n"
            "lock_for_life(sys.argv[1])\n"
            "child = os.fork()\n"
            "if child: print(child, flush=True)\n"
            "time.sleep(60)",
            str(path),
        ],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert holder.stdout is not None
    orphan = int(holder.stdout.readline())
    try:
        holder.kill()
        holder.wait()
        lock_for_life(path)
    finally:
        os.kill(orphan, 9)
        holder.stdout.close()


def test_a_lock_that_cannot_be_made_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RunError, match="Cannot open"):
        lock_for_life(tmp_path / "missing" / ".lock")

    def unsupported(*_: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.lockf", unsupported)
    with pytest.raises(RunError, match="runs_dir"):
        lock_for_life(tmp_path / ".lock")
