"""A queue from somebody else starts nothing before it is confirmed."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kmtard.runs import RunError
from kmtard.runs.queue.entry import Entry
from kmtard.runs.queue.queue import Queue
from kmtard.runs.queue.runner import Runner
from kmtard.runs.queue.seal import key_path
from kmtard.runs.queue.task import Task
from tests.launcher.engine_fixtures import program, programs, until

__all__ = ["programs"]

pytestmark = [pytest.mark.once("jax"), pytest.mark.usefixtures("programs")]

OLD = {
    "id": "abc",
    "title": "digits",
    "argv": ["/bin/sh", "-c", "touch touched"],
    "cwd": "/",
    "backend": "jax",
    "added": 1.0,
    "state": "waiting",
    "stopping": False,
    "host": None,
    "pid": None,
    "process_start": None,
    "started": None,
    "ended": None,
    "exit_code": None,
    "run": None,
}


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    return Queue(tmp_path / "runs")


def touches(tmp_path: Path) -> tuple[Task, Path]:
    """Return a task that makes a file, and the file."""
    path = tmp_path / "touched"
    return program(tmp_path, f"open({str(path)!r}, 'w').close()"), path


def written(queue: Queue, *entries: dict[str, Any]) -> None:
    """Write the file of a queue as somebody else would."""
    queue.folder.mkdir(parents=True)
    content = {"limit": 1, "entries": list(entries)}
    (queue.folder / "queue.json").write_text(json.dumps(content))


def work(queue: Queue) -> None:
    """Let a runner look until it has nothing to do."""
    runner = Runner(queue)
    until(lambda: not runner.step())


def test_a_shell_command_of_an_old_queue_never_starts(
    queue: Queue, tmp_path: Path
) -> None:
    written(queue, {**OLD, "cwd": str(tmp_path)})
    work(queue)
    (entry,) = queue.unconfirmed()
    assert (entry.state, entry.command) == ("waiting", OLD["argv"])
    queue.confirm([entry])
    work(queue)
    (entry,) = queue.entries()
    assert entry.state == "failed"
    assert "not one of kmtard's own" in entry.log.read_text()
    assert not (tmp_path / "touched").exists()
    assert queue.damaged() == []


def test_an_old_command_of_ours_starts_once_it_is_confirmed(
    queue: Queue, tmp_path: Path
) -> None:
    task, touched = touches(tmp_path)
    argv = ["/old/venv/bin/python3.11", *task.command()[1:]]
    written(queue, {**OLD, "argv": argv, "cwd": str(tmp_path)})
    work(queue)
    assert not touched.exists()
    queue.confirm(queue.unconfirmed())
    assert queue.unconfirmed() == []
    work(queue)
    assert touched.exists()


def test_a_task_that_somebody_else_wrote_waits(queue: Queue, tmp_path: Path) -> None:
    task, touched = touches(tmp_path)
    values = {name: value for name, value in OLD.items() if name != "argv"}
    written(queue, {**values, "task": task.as_json(), "seal": "0" * 64})
    own = queue.add(program(tmp_path, ""), "own", "jax")
    work(queue)
    # The user's own entries start before it.
    assert queue.read().find(own.id).state == "finished"
    assert [entry.id for entry in queue.unconfirmed()] == ["abc"]
    assert not touched.exists()


def test_trust_that_somebody_else_added_starts_nothing(
    queue: Queue, tmp_path: Path
) -> None:
    own = queue.add(program(tmp_path, ""), "own", "jax")
    path = queue.folder / "queue.json"
    content = json.loads(path.read_text())
    for more in ({"trust": True}, {"imports": ["theirs"]}):
        [entry] = json.loads(json.dumps(content))["entries"]
        entry["task"] |= more
        path.write_text(json.dumps({**content, "entries": [entry]}))
        [found] = queue.unconfirmed()
        assert found.id == own.id
        # The question shows what it would be allowed.
        assert {"--trust", "theirs"} & set(found.command)
        assert queue.granted(tmp_path) is None
    path.write_text(json.dumps(content))
    assert queue.unconfirmed() == []


def test_a_run_goes_on_with_what_its_own_entry_was_allowed(
    queue: Queue, tmp_path: Path
) -> None:
    run = tmp_path / "runs" / "one"
    task = replace(program(tmp_path, ""), imports=("own_parts",))
    entry = queue.add(task, "one", "jax")
    assert queue.granted(run) is None
    with queue.change() as content:
        content.update(entry.id, run=str(run))
    assert queue.granted(run) == task
    with queue.change() as content:
        content.update(entry.id, seal="0" * 64)
    assert queue.granted(run) is None


def test_a_confirmation_is_remembered(queue: Queue, tmp_path: Path) -> None:
    task, touched = touches(tmp_path)
    values = {name: value for name, value in OLD.items() if name != "argv"}
    written(queue, {**values, "task": task.as_json(), "cwd": str(tmp_path)})
    queue.confirm(queue.unconfirmed())
    again = Queue(queue.runs_dir)
    assert again.unconfirmed() == []
    work(again)
    assert touched.exists()


CHANGES: dict[str, Callable[[Entry, Path], dict[str, Any]]] = {
    "task": lambda entry, path: {"task": Task.fit(path / "other.toml").as_json()},
    "folder": lambda entry, path: {"cwd": str(path / "elsewhere")},
    "backend": lambda entry, path: {"backend": "torch"},
    "number": lambda entry, path: {"id": "f" * 32},
    "seal": lambda entry, path: {"seal": "é" * 64},
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_changed_after_it_was_sealed_waits(
    queue: Queue, tmp_path: Path, change: str
) -> None:
    entry = queue.add(Task.fit("a.toml"), "a", "jax")
    path = queue.folder / "queue.json"
    values = json.loads(path.read_text())
    values["entries"][0] |= CHANGES[change](entry, tmp_path)
    path.write_text(json.dumps(values))
    work(queue)
    assert [each.state for each in queue.unconfirmed()] == ["waiting"]


def test_what_was_changed_while_it_was_shown_is_not_confirmed(queue: Queue) -> None:
    written(queue, {**OLD, "argv": Task.fit("a.toml").command()})
    shown = replace(queue.unconfirmed()[0], task=Task.fit("harmless.toml"))
    queue.confirm([shown])
    assert [entry.task for entry in queue.unconfirmed()] == [Task.fit("a.toml")]


def test_a_copy_elsewhere_and_another_host_ask_again(
    queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.add(Task.fit("a.toml"), "a", "jax")
    assert queue.unconfirmed() == []
    copy = shutil.copytree(queue.runs_dir, tmp_path / "copy")
    assert len(Queue(copy).unconfirmed()) == 1
    monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
    assert len(queue.unconfirmed()) == 1


def test_the_key_is_the_user_s_alone_and_not_among_the_runs(queue: Queue) -> None:
    queue.add(Task.fit("a.toml"), "a", "jax")
    assert key_path().stat().st_mode & 0o777 == 0o600
    assert not key_path().is_relative_to(queue.runs_dir)
    key = key_path().read_bytes()
    queue.add(Task.fit("b.toml"), "b", "jax")
    assert key_path().read_bytes() == key and len(key) == 32


def test_a_key_that_cannot_be_made_is_said(
    queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.raises(RunError, match="queue.key.*set XDG_STATE_HOME"):
        queue.add(Task.fit("a.toml"), "a", "jax")
    assert queue.entries() == []
    folder = tmp_path / "state" / "kmtard"
    folder.mkdir(parents=True)
    (folder / "queue.key").write_text("short")
    monkeypatch.setenv("XDG_STATE_HOME", str(folder.parent))
    with pytest.raises(RunError, match="Expected a key of 32 bytes"):
        queue.add(Task.fit("a.toml"), "a", "jax")


@pytest.mark.parametrize("name", [".queue", ".queue/logs"])
def test_a_folder_that_is_a_link_is_refused(
    queue: Queue, tmp_path: Path, name: str
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "abc.log").write_text("precious")
    path = queue.runs_dir / name
    path.parent.mkdir(parents=True)
    path.symlink_to(mine)
    (queue.folder / "queue.json").write_text(
        json.dumps({"limit": 1, "entries": [{**OLD, "state": "failed"}]})
    )
    for change in (queue.clear_finished, lambda: queue.remove("abc")):
        with pytest.raises(RunError, match="received a link"):
            change()
    with pytest.raises(RunError, match="received a link"):
        queue.ensure_runner()
    assert (mine / "abc.log").read_text() == "precious"


def test_a_log_that_is_a_link_is_not_written(queue: Queue, tmp_path: Path) -> None:
    entry = queue.add(program(tmp_path, "print('x')"), "a", "jax")
    (tmp_path / "mine").write_text("precious")
    entry.log.symlink_to(tmp_path / "mine")
    assert not Runner(queue).step()
    assert (tmp_path / "mine").read_text() == "precious"
    assert queue.read().find(entry.id).state == "failed"
    assert "it is a link, not a regular file" in entry.log.read_text()
    assert not entry.log.is_symlink()


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_an_entry_that_cannot_have_a_log_fails_and_the_next_one_starts(
    queue: Queue, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    written(queue, {**OLD, "argv": Task.fit("a.toml").command()})
    queue.logs.mkdir()
    (Path.mkdir if kind == "folder" else os.mkfifo)(queue.logs / "abc.log")
    queue.confirm(queue.unconfirmed())
    task, touched = touches(tmp_path)
    queue.add(task, "own", "jax")
    work(queue)
    assert [entry.state for entry in queue.entries()] == ["failed", "finished"]
    assert touched.exists()
    assert f"it is a {kind}, not a regular file" in capsys.readouterr().out


def pipe(path: Path) -> None:
    os.mkfifo(path)


def zero(path: Path) -> None:
    path.symlink_to("/dev/zero")


def circle(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize("make", [pipe, zero, circle, Path.mkdir])
def test_what_is_no_file_is_said_at_once(
    queue: Queue, make: Callable[[Path], None]
) -> None:
    queue.folder.mkdir(parents=True)
    make(queue.folder / "queue.json")
    with pytest.raises(RunError, match="Cannot use the queue"):
        queue.entries()
    make(queue.runner_path)
    assert queue.runner() is None
