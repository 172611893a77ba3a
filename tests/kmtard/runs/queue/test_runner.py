"""The runner starts each entry once, also if it is killed and started again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kmtard.runs import Run
from kmtard.runs.queue.entry import Entry
from kmtard.runs.queue.queue import Queue
from kmtard.runs.queue.runner import NOT_STARTED, Runner
from kmtard.runs.queue.task import Task
from tests.launcher.engine_fixtures import program, programs, run_program, until
from tests.run_folders import RECIPE

pytestmark = pytest.mark.once("torch")

WRITE = "import sys; open(sys.argv[1], 'a').write(sys.argv[2])"

__all__ = ["programs"]

HOLD = """
import sys, time
from kmtard.runs.files import lock_for_life
lock_for_life(sys.argv[1])
print(flush=True)
time.sleep(60)
"""


@pytest.fixture
def queue(tmp_path: Path, programs: None) -> Iterator[Queue]:
    queue = Queue(tmp_path / "runs")
    yield queue
    kill_runner(queue)
    for entry in queue.entries():
        if entry.is_alive:
            queue.kill(entry.id)


def kill_runner(queue: Queue) -> None:
    """Kill the runner as a crash does, and wait until it is gone."""
    runner = queue.runner()
    if runner is not None and runner.is_alive:
        os.kill(runner.pid, signal.SIGKILL)
        until(lambda: not queue.runner_alive())


def started(queue: Queue) -> subprocess.Popen[bytes]:
    """Start another runner, as another user interface would."""
    return subprocess.Popen(
        [sys.executable, "-m", "kmtard.runs.queue.runner", str(queue.runs_dir)],
        stdout=subprocess.DEVNULL,
    )


def writes(queue: Queue, path: Path, text: str) -> Entry:
    return queue.add(program(path.parent, WRITE, path, text), text, "")


def present(queue: Queue, entry: Entry) -> Entry:
    return queue.read().find(entry.id)


def until_state(queue: Queue, entry: Entry, state: str) -> Entry:
    until(lambda: present(queue, entry).state == state)
    return present(queue, entry)


def until_done(queue: Queue) -> None:
    until(lambda: all(entry.is_ended for entry in queue.entries()))
    until(lambda: not queue.runner_alive())


def test_entries_run_in_their_order_and_the_runner_ends(
    queue: Queue, tmp_path: Path
) -> None:
    entries = [writes(queue, tmp_path / "out", text) for text in "abc"]
    queue.move(entries[2].id, -2)
    queue.ensure_runner()
    until_done(queue)
    assert (tmp_path / "out").read_text() == "cab"
    assert {entry.state for entry in queue.entries()} == {"finished"}
    assert {entry.exit_code for entry in queue.entries()} == {0}
    assert not queue.runner_path.exists()


def test_the_process_is_a_session_of_its_own_with_the_backend(
    queue: Queue, tmp_path: Path
) -> None:
    code = (
        "import os, sys; print(os.environ['KERAS_BACKEND'], os.getsid(0) == "
        "os.getpid(), repr(sys.stdin.read()), os.getcwd())"
    )
    entry = queue.add(program(tmp_path, code), "a", "torch", cwd="/")
    queue.ensure_runner()
    until_done(queue)
    assert present(queue, entry).log.read_text() == "torch True '' /\n"


def test_the_environment_is_in_no_file_of_the_queue(
    queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KMTARD_TEST_TOKEN", "hunter2")
    code = "import os; assert os.environ['KMTARD_TEST_TOKEN'] == 'hunter2'"
    entry = queue.add(program(tmp_path, code), "a", "")
    queue.ensure_runner()
    until_done(queue)
    assert present(queue, entry).state == "finished"
    files = [path for path in queue.folder.rglob("*") if path.is_file()]
    assert entry.log in files and queue.runner_log in files
    for path in files:
        assert b"hunter2" not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("end", "state", "code"), [("finish", "finished", 0), ("fail", "failed", 1)]
)
def test_the_run_of_an_entry_is_found(
    queue: Queue, end: str, state: str, code: int
) -> None:
    entry = queue.add(run_program(queue.runs_dir, "r", end), "a", "jax")
    queue.ensure_runner()
    until_done(queue)
    ended = present(queue, entry)
    assert (ended.state, ended.exit_code) == (state, code)
    assert ended.run == str(queue.runs_dir / "r")


def test_what_fails_before_it_is_a_run_shows_why(queue: Queue) -> None:
    no_recipe = queue.add(Task.fit("no.toml"), "a", "jax")
    no_folder = queue.add(Task.fit("b"), "b", "", cwd=str(queue.runs_dir / "none"))
    queue.ensure_runner()
    until_done(queue)
    for entry, code, reason in (
        (no_recipe, 2, "no.toml"),
        (no_folder, None, "No such file"),
    ):
        ended = present(queue, entry)
        assert (ended.state, ended.exit_code, ended.run) == ("failed", code, None)
        assert reason in ended.log.read_text()


def test_so_many_run_at_a_time_as_the_limit_says(queue: Queue) -> None:
    entries = [
        queue.add(run_program(queue.runs_dir, name, "wait"), name, "jax")
        for name in "abc"
    ]

    def running() -> list[str]:
        return [entry.title for entry in queue.entries() if entry.state == "running"]

    queue.ensure_runner()
    until(lambda: present(queue, entries[0]).run)
    assert running() == ["a"]
    queue.limit = 2
    until(lambda: running() == ["a", "b"])
    until(lambda: present(queue, entries[1]).run)
    queue.stop(entries[0].id)
    until_state(queue, entries[0], "cancelled")
    until(lambda: running() == ["b", "c"])


def test_a_stopped_entry_saves_and_is_cancelled(queue: Queue) -> None:
    entry = queue.add(run_program(queue.runs_dir, "r", "wait"), "a", "jax")
    queue.ensure_runner()
    until(lambda: present(queue, entry).run)
    queue.stop(entry.id)
    ended = until_state(queue, entry, "cancelled")
    assert ended.exit_code == 0
    assert Run(queue.runs_dir / "r").state() == "stopped"


def test_a_killed_entry_is_cancelled(queue: Queue) -> None:
    entry = queue.add(run_program(queue.runs_dir, "r", "deaf"), "a", "jax")
    queue.ensure_runner()
    until(lambda: present(queue, entry).run)
    queue.stop(entry.id)
    queue.kill(entry.id)
    ended = until_state(queue, entry, "cancelled")
    assert ended.exit_code == -signal.SIGKILL
    assert Run(queue.runs_dir / "r").state() == "crashed"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_runner_that_ends_is_followed_by_one_that_goes_on(
    queue: Queue, tmp_path: Path, number: signal.Signals
) -> None:
    entry = queue.add(run_program(queue.runs_dir, "r", "wait"), "a", "jax")
    writes(queue, tmp_path / "out", "b")
    queue.ensure_runner()
    until(lambda: present(queue, entry).run)
    runner, before = queue.runner(), present(queue, entry)
    assert runner is not None
    os.kill(runner.pid, number)
    until(lambda: not queue.runner_alive())
    assert before.is_alive and before.pid is not None
    queue.ensure_runner()
    until(queue.runner_alive)
    os.kill(before.pid, signal.SIGTERM)
    until_done(queue)
    ended = present(queue, entry)
    assert (ended.state, ended.pid) == ("cancelled", before.pid)
    assert (tmp_path / "out").read_text() == "b"
    assert [path.name for path in queue.runs_dir.glob("r*")] == ["r"]


@pytest.mark.parametrize(("end", "state"), [("finish", "finished"), ("fail", "failed")])
def test_how_a_run_ended_while_no_runner_watched_is_read_from_it(
    queue: Queue, end: str, state: str
) -> None:
    entry = queue.add(run_program(queue.runs_dir, "r", end), "a", "jax")
    child = subprocess.Popen(entry.command, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    run = Run(queue.runs_dir / "r")
    until(lambda: run.state() != "running")
    owner = {name: run.info()[name] for name in ("pid", "process_start", "host")}
    child.communicate()
    with queue.change() as content:
        content.update(entry.id, state="running", **owner)
    Runner(queue).step()
    ended = present(queue, entry)
    assert (ended.state, ended.exit_code, ended.run) == (state, None, str(run.path))


def test_how_another_command_ended_unwatched_is_not_known(queue: Queue) -> None:
    entry = queue.add(Task.fit("a"), "a", "")
    host = os.uname().nodename
    with queue.change() as content:
        content.update(
            entry.id, state="running", pid=2**22 + 1, process_start=1.0, host=host
        )
    assert not Runner(queue).step()
    assert present(queue, entry).state == "unknown"


def test_a_process_that_lost_its_runner_before_it_began_is_started_again(
    queue: Queue, tmp_path: Path
) -> None:
    entry = writes(queue, tmp_path / "out", "a")
    # As after a crash after the process was recorded and before it was released.
    runner = Runner(queue)
    host = os.uname().nodename
    with queue.change() as content:
        content.update(
            entry.id,
            state="running",
            pid=2**22 + 1,
            process_start=1.0,
            host=host,
            started=7.25,
        )
    entry.log.write_text(f"{NOT_STARTED} (start 7.25)\nfrom before\n")
    assert runner.step()
    until(lambda: not runner.step())
    assert (tmp_path / "out").read_text() == "a"
    assert present(queue, entry).state == "finished"


def test_the_line_of_an_earlier_start_starts_nothing_again(
    queue: Queue, tmp_path: Path
) -> None:
    """A silent command's log ends with it, whatever the command has done since."""
    entry = writes(queue, tmp_path / "out", "a")
    runner = Runner(queue)
    with queue.change() as content:
        content.update(
            entry.id,
            state="running",
            pid=2**22 + 1,
            process_start=1.0,
            host=socket.gethostname(),
            started=8.5,
        )
    entry.log.write_text(f"{NOT_STARTED} (start 7.25)\n{NOT_STARTED}\n")
    assert not runner.step()
    assert present(queue, entry).state == "unknown"
    assert not (tmp_path / "out").exists()


def test_an_entry_without_a_host_does_not_block_the_others(
    queue: Queue, tmp_path: Path
) -> None:
    lost = writes(queue, tmp_path / "out", "a")
    with queue.change() as content:
        content.update(lost.id, state="running", pid=2**22 + 1, host=None)
    other = writes(queue, tmp_path / "out", "b")
    queue.ensure_runner()
    until_done(queue)
    assert present(queue, lost).state == "unknown"
    assert present(queue, other).state == "finished"
    assert (tmp_path / "out").read_text() == "b"


def test_a_process_that_is_not_written_down_does_not_begin(
    queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = writes(queue, tmp_path / "out", "a")
    runner = Runner(queue)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(Exception, match="No space left"):
            runner.step()
    until(lambda: NOT_STARTED in entry.log.read_text())
    assert present(queue, entry).state == "waiting"
    assert not (tmp_path / "out").exists()
    until(lambda: not runner.step())
    assert (tmp_path / "out").read_text() == "a"


def test_of_many_runners_one_works(queue: Queue, tmp_path: Path) -> None:
    for text in "abcdef":
        writes(queue, tmp_path / "out", text)
    runners = [started(queue) for _ in range(3)]
    assert [runner.wait(60) for runner in runners] == [0, 0, 0]
    until_done(queue)
    assert (tmp_path / "out").read_text() == "abcdef"


def test_an_entry_added_as_the_runner_ends_is_not_forgotten(
    queue: Queue, tmp_path: Path
) -> None:
    for number in range(4):
        entry = writes(queue, tmp_path / "out", str(number))
        queue.ensure_runner()
        until_state(queue, entry, "finished")
    assert (tmp_path / "out").read_text() == "0123"


def test_a_runner_waits_for_the_one_before_it_to_be_gone(
    queue: Queue, tmp_path: Path
) -> None:
    entry = writes(queue, tmp_path / "out", "a")
    ending = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(queue.runner_lock)], stdout=subprocess.PIPE
    )
    assert ending.stdout is not None
    ending.stdout.readline()
    queue.ensure_runner()
    assert queue.runner_begins() and not queue.runner_alive()
    ending.kill()
    ending.communicate()
    until_state(queue, entry, "finished")


def test_a_closed_terminal_does_not_end_it(queue: Queue) -> None:
    entry = queue.add(run_program(queue.runs_dir, "r", "wait"), "a", "jax")
    queue.ensure_runner()
    until(lambda: present(queue, entry).run)
    runner = queue.runner()
    assert runner is not None
    os.kill(runner.pid, signal.SIGHUP)
    queue.stop(entry.id)
    until_state(queue, entry, "cancelled")


def test_a_wrong_command_line_is_said() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "kmtard.runs.queue.runner"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "RUNS_DIR" in done.stdout


def test_a_folder_that_is_deleted_ends_the_runner(queue: Queue, tmp_path: Path) -> None:
    queue.add(program(tmp_path, "import time; time.sleep(60)"), "a", "")
    queue.ensure_runner()
    until(lambda: queue.entries()[0].is_alive)
    entry = queue.entries()[0]
    # The runner may write while the folder is being emptied.
    until(lambda: shutil.rmtree(queue.runs_dir, True) or not queue.runs_dir.exists())
    until(lambda: not queue.runner_alive())
    assert not queue.runs_dir.exists()
    assert entry.pid is not None and entry.is_alive
    os.kill(entry.pid, signal.SIGKILL)


@pytest.mark.slow
def test_a_real_run_goes_through_the_queue(queue: Queue) -> None:
    overrides = [f'runtime.runs_dir="{queue.runs_dir}"', 'runtime.backend="jax"']
    task = Task.fit(RECIPE, overrides=overrides, smoke=True)
    entry = queue.add(task, "digits", "jax")
    queue.ensure_runner()
    until(lambda: present(queue, entry).is_ended, patience=400)
    ended = present(queue, entry)
    assert (ended.state, ended.exit_code) == ("finished", 0), ended.log.read_text()
    assert ended.run is not None
    assert Run(ended.run).state() == "finished"
