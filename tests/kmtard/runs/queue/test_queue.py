"""The queue's file: many writers lose no entry, and a damaged file is kept."""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from kmtard.runs import RunError
from kmtard.runs.processes import process_start_time
from kmtard.runs.queue.entry import Entry
from kmtard.runs.queue.queue import Queue
from kmtard.runs.queue.task import Task

pytestmark = pytest.mark.once("torch")

TASK = Task.fit("a.toml")

ADD = """
import sys
from pathlib import Path
from kmtard.runs.queue.queue import Queue
from kmtard.runs.queue.task import Task
queue = Queue(Path(sys.argv[1]))
TASK = Task.fit("a.toml")
for number in range(100):
    queue.add(TASK, f"{sys.argv[2]}{number}", "jax")
"""


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    return Queue(tmp_path / "runs")


def add(queue: Queue, *titles: str) -> list[Entry]:
    return [queue.add(TASK, title, "jax") for title in titles]


def titles(queue: Queue) -> list[str]:
    return [entry.title for entry in queue.entries()]


def set_entry(queue: Queue, entry: Entry, **changes: Any) -> None:
    with queue.change() as content:
        content.update(entry.id, **changes)


def test_a_queue_that_nobody_used_is_empty_and_writes_nothing(queue: Queue) -> None:
    assert (queue.entries(), queue.limit, queue.runner_alive()) == ([], 1, False)
    assert not queue.runs_dir.exists()


def test_entries_last_in_their_order(queue: Queue) -> None:
    first, second = add(queue, "a [b]", "実験")
    assert Queue(queue.runs_dir).entries() == [first, second]
    assert (first.state, first.cwd, first.backend) == ("waiting", os.getcwd(), "jax")
    assert first.log.parent == queue.folder / "logs"


def test_the_limit_lasts_and_is_one_at_least(queue: Queue) -> None:
    queue.limit = 3
    assert Queue(queue.runs_dir).limit == 3
    queue.limit = 0
    assert queue.limit == 1


@pytest.mark.parametrize(
    ("title", "by", "expected"),
    [
        ("b", -1, ["b", "a", "run", "c"]),
        ("a", 1, ["b", "a", "run", "c"]),
        ("b", 1, ["a", "c", "run", "b"]),
        ("a", -1, ["a", "b", "run", "c"]),
        ("c", 9, ["a", "b", "run", "c"]),
        ("c", -9, ["c", "a", "run", "b"]),
    ],
)
def test_what_waits_can_be_moved_past_what_runs(
    queue: Queue, title: str, by: int, expected: list[str]
) -> None:
    entries = dict(zip("abrc", add(queue, "a", "b", "run", "c"), strict=True))
    set_entry(queue, entries["r"], state="running")
    queue.move(entries[title].id, by)
    present = titles(queue)
    assert present.index("run") == 2
    assert present == expected


def test_what_runs_cannot_be_moved(queue: Queue) -> None:
    (entry,) = add(queue, "a")
    set_entry(queue, entry, state="running")
    with pytest.raises(RunError, match="Only waiting entries"):
        queue.move(entry.id, 1)


def test_what_lives_cannot_be_removed(queue: Queue) -> None:
    (entry,) = add(queue, "a")
    pid = os.getpid()
    owner = {"pid": pid, "process_start": process_start_time(pid)}
    set_entry(queue, entry, state="running", host=socket.gethostname(), **owner)
    with pytest.raises(RunError, match="stop it first"):
        queue.remove(entry.id)
    set_entry(queue, entry, process_start=1.0)  # its number is another's now
    queue.remove(entry.id)
    assert queue.entries() == []
    with pytest.raises(RunError, match="no longer in the queue"):
        queue.remove(entry.id)


def test_what_has_ended_is_cleared_with_its_log(queue: Queue) -> None:
    entries = add(queue, "waits", "done", "broken", "gone")
    for entry, state in zip(
        entries[1:], ("finished", "failed", "unknown"), strict=True
    ):
        set_entry(queue, entry, state=state)
        entry.log.write_text("x")
    assert queue.clear_finished() == 3
    assert titles(queue) == ["waits"]
    assert list(queue.logs.iterdir()) == []


def test_a_run_is_not_resumed_twice_at_a_time(queue: Queue, tmp_path: Path) -> None:
    entry = queue.add(TASK, "resume a", "jax", run=tmp_path)
    with pytest.raises(RunError, match="resume a is already in the queue"):
        queue.add(TASK, "resume a", "jax", run=tmp_path)
    set_entry(queue, entry, state="failed")
    queue.add(TASK, "resume a", "jax", run=tmp_path)
    assert len(queue.entries()) == 2


def test_two_processes_and_two_threads_lose_nothing(queue: Queue) -> None:
    command = [sys.executable, "-c", ADD, str(queue.runs_dir)]
    others = [subprocess.Popen([*command, name]) for name in "xy"]
    with ThreadPoolExecutor(2) as pool:
        for number in range(50):
            pool.submit(add, queue, f"t{number}")
    assert [other.wait(100) for other in others] == [0, 0]
    wanted = [f"{name}{number}" for name in "xy" for number in range(100)]
    wanted += [f"t{number}" for number in range(50)]
    assert sorted(titles(queue)) == sorted(wanted)
    assert [t for t in titles(queue) if t[0] == "x"] == wanted[:100]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b"[]",
        b'{"limit": 1}',
        b'{"limit": true, "entries": []}',
        b'{"limit": 1, "entries": [1]}',
        b'{"limit": 1, "entries": [{"id": "../x"}]}',
    ],
)
def test_a_damaged_file_is_kept_aside(queue: Queue, content: bytes) -> None:
    queue.folder.mkdir(parents=True)
    (queue.folder / "queue.json").write_bytes(content)
    assert queue.entries() == []
    (kept,) = queue.damaged()
    assert kept.read_bytes() == content
    add(queue, "a")
    assert (titles(queue), queue.damaged()) == (["a"], [kept])


@pytest.mark.parametrize(
    "change",
    [
        {"id": "../../x"},
        {"state": "sleeping"},
        {"task": {}},
        {"task": {**TASK.as_json(), "action": "/bin/sh"}},
        {"task": {**TASK.as_json(), "target": "--trust"}},
        {"task": {**TASK.as_json(), "overrides": [1]}},
        {"backend": "evil"},
        {"pid": True},
        {"pid": "1"},
        {"added": None},
    ],
)
def test_an_entry_that_is_none_damages_the_file(
    queue: Queue, change: dict[str, Any]
) -> None:
    add(queue, "a")
    path = queue.folder / "queue.json"
    values = json.loads(path.read_text())
    values["entries"][0] |= change
    path.write_text(json.dumps(values))
    assert queue.entries() == []
    assert json.loads(queue.damaged()[0].read_text()) == values


def test_a_full_disk_keeps_the_old_queue(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(queue, "a")

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="No space left"):
        add(queue, "b")
    monkeypatch.undo()
    assert titles(queue) == ["a"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a file system")
def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this system mounts nothing")
    try:
        queue = Queue(tmp_path)
        add(queue, "a")
        with pytest.raises(RunError, match="No space left"):
            add(queue, "x" * 65536)
        assert titles(queue) == ["a"]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    queue = Queue(tmp_path / "runs")
    for action in (lambda: add(queue, "a"), queue.entries, queue.ensure_runner):
        with pytest.raises(RunError, match="Cannot use the queue"):
            action()


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_is_read_only_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        with pytest.raises(RunError, match="Permission denied"):
            add(Queue(tmp_path), "a")
    finally:
        tmp_path.chmod(stat.S_IRWXU)


def test_a_runner_on_another_host_is_left_alone(queue: Queue) -> None:
    (entry,) = add(queue, "a")
    set_entry(queue, entry, state="running", host="elsewhere", pid=1)
    with pytest.raises(RunError, match="a runs on elsewhere"):
        queue.ensure_runner()
    with pytest.raises(RunError, match="elsewhere: watch only"):
        queue.stop(entry.id)
    assert not queue.runner_path.exists()
    queue.remove(entry.id)
    assert queue.entries() == []


def test_a_queue_of_a_newer_version_is_refused_and_kept(queue: Queue) -> None:
    add(queue, "a")
    text = queue._path.read_text().replace('"schema": 1', '"schema": 2')
    queue._path.write_text(text)
    with pytest.raises(RunError, match="schema 2.*update kmtard"):
        queue.entries()
    with pytest.raises(RunError, match="schema 2.*update kmtard"):
        add(queue, "b")
    assert queue._path.read_text() == text


@pytest.mark.parametrize("content", ["", "[]", '{"pid": null}', '{"pid": 1}'])
def test_a_damaged_registration_is_none(queue: Queue, content: str) -> None:
    queue.folder.mkdir(parents=True)
    queue.runner_path.write_text(content)
    assert queue.runner() is None
    assert not queue.runner_alive()


def test_a_registration_with_a_reused_number_is_dead(queue: Queue) -> None:
    queue.folder.mkdir(parents=True)
    values = {
        "pid": os.getpid(),
        "process_start": 1.0,
        "host": socket.gethostname(),
    }
    queue.runner_path.write_text(json.dumps(values))
    assert queue.runner() is not None
    assert not queue.runner_alive()
