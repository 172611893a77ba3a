"""Runs: one process owns a run, and the folder shows its state."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import kmtard.runs
from kmtard.runs import EventWriter, Run, RunError, write_atomic

ROOT = Path(kmtard.runs.__file__).parents[2]
DETAILS = {"backend": "jax", "versions": {"keras": "3.15.0"}}
START = """
import sys, time
from kmtard.runs import EventWriter, Run
run = Run.create(sys.argv[1], "child", "", {})
EventWriter(run.events_path).write("run_started")
print(run.path, flush=True)
time.sleep(60)
"""
RESUME = """
import sys, time
from kmtard.runs import Run, RunError
run = Run.open(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
try:
    run.claim({})
    print("claimed", flush=True)
except RunError:
    print("refused", flush=True)
sys.stdin.readline()
"""


def python(code: str, argument: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, str(argument)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.fixture
def child(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that owns a run and has just written `run_started`."""
    process = python(START, tmp_path)
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path, "digits", "a = 1\n", DETAILS)


def write(run: Run, *names: str) -> None:
    for name in names:
        EventWriter(run.events_path).write(name)


def change_info(run: Run, **fields: Any) -> None:
    write_atomic(run.info_path, json.dumps({**run.info(), **fields}))


@pytest.mark.parametrize(
    ("names", "state"),
    [
        ([], "running"),
        (["run_started", "step", "epoch"], "running"),
        (["run_started", "run_finished"], "finished"),
        (["run_started", "run_stopped"], "stopped"),
        (["run_started", "run_failed"], "failed"),
        (["run_started", "run_stopped", "run_started", "step"], "running"),
        (["run_started", "run_finished", "evaluation", "warning"], "finished"),
    ],
)
def test_the_last_event_of_the_run_decides(
    run: Run, names: list[str], state: str
) -> None:
    write(run, *names)
    assert run.state() == state
    assert Run.open(run.path).state() == state


def test_state_follows_a_growing_file_and_a_new_one(run: Run) -> None:
    write(run, "run_started", "step")
    assert run.state() == "running"
    write(run, "run_failed")
    assert run.state() == run.state() == "failed"
    write(run, "run_started")
    assert run.state() == "running"
    write(run, "run_stopped")
    assert run.state() == "stopped"
    run.events_path.write_bytes(b"")
    assert run.state() == "running"


def test_lines_that_only_look_like_a_final_event_decide_nothing(run: Run) -> None:
    EventWriter(run.events_path).write("run_started")
    EventWriter(run.events_path).write("warning", message='"run_finished"')
    with run.events_path.open("ab") as file:
        file.write(b'{"event": ["run_finished"]}\n{"event": {"run_failed": 1}}\n')
        file.write(b'{"event": "run_over"}\n{"event": "run_finished", "time": 1')
    assert run.state() == "running"


def test_a_later_line_that_looks_like_a_start_reopens_nothing(run: Run) -> None:
    write(run, "run_started", "run_finished")
    EventWriter(run.events_path).write("warning", message='not "run_started" again')
    assert run.state() == "finished"


def test_a_killed_process_leaves_a_crashed_run_that_can_be_resumed(
    child: subprocess.Popen[str],
) -> None:
    run = Run.open(read_line(child))
    assert run.state() == "running"
    with pytest.raises(RunError, match="another process"):
        run.claim({})
    assert run.info()["pid"] == child.pid
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert run.state() == "crashed"
    run.claim(DETAILS)
    assert run.info()["pid"] == os.getpid()
    assert run.state() == "running"


def test_a_killed_process_that_nobody_waited_for_is_crashed(
    child: subprocess.Popen[str],
) -> None:
    run = Run.open(read_line(child))
    os.kill(child.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while run.state() == "running" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert run.state() == "crashed"


def test_a_lost_lock_file_does_not_open_a_run_that_is_alive(
    child: subprocess.Popen[str],
) -> None:
    run = Run.open(read_line(child))
    (run.path / ".lock").unlink()
    with pytest.raises(RunError, match=f"process {child.pid}"):
        run.claim({})


def test_a_process_number_given_to_another_is_a_crash(run: Run) -> None:
    write(run, "run_started")
    change_info(run, process_start=12.5)
    assert run.state() == "crashed"
    run.claim({})
    assert run.state() == "running"


def test_a_resume_keeps_the_date_and_takes_the_details(run: Run) -> None:
    change_info(run, created=123.5)
    run.claim({"backend": "torch", "pid": 1, "created": 7})
    info = run.info()
    assert info["created"] == 123.5
    assert info["backend"] == "torch"
    assert info["pid"] == os.getpid()
    assert "versions" not in info


def test_a_run_of_another_host_is_watched_only_until_its_end(run: Run) -> None:
    write(run, "run_started")
    change_info(run, host="elsewhere")
    assert run.state() == "remote"
    with pytest.raises(RunError, match=r"elsewhere.*delete.*run\.json"):
        run.claim({})
    assert run.info()["host"] == "elsewhere"
    write(run, "run_stopped")
    assert run.state() == "stopped"
    run.claim({})
    assert run.info()["host"] == socket.gethostname()


@pytest.mark.parametrize(
    "text", [None, "", "{", "[]", "{}", '{"pid": "x", "host": 1}', "[" * 100_000]
)
def test_a_run_that_nobody_is_known_to_own_is_unknown_and_free(
    run: Run, text: str | None
) -> None:
    write(run, "run_started")
    run.info_path.unlink()
    if text is not None:
        run.info_path.write_text(text)
    assert run.state() == "unknown"
    run.claim({})
    assert run.state() == "running"


def test_of_two_processes_that_resume_at_once_one_succeeds(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").touch()
    processes = [python(RESUME, tmp_path) for _ in range(2)]
    try:
        assert [read_line(process) for process in processes] == ["ready", "ready"]
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        answers = [read_line(process) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert sorted(answers) == ["claimed", "refused"]
    assert Run(tmp_path).info()["pid"] == processes[answers.index("claimed")].pid


@pytest.mark.parametrize(
    "name",
    [
        *("checkpoints", "best", "report", "evaluation", "events.jsonl"),
        *("out.log", "evaluation.json", ".lock"),
    ],
)
def test_a_part_that_is_a_link_is_not_written(
    run: Run, tmp_path: Path, name: str
) -> None:
    outside = tmp_path / "outside"
    outside.write_text("precious")
    path = run.path / name
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)
    path.symlink_to(outside)
    before = run.info_path.read_bytes()
    with pytest.raises(RunError, match="link"):
        Run.open(run.path).claim({})
    assert outside.read_text() == "precious"
    assert run.info_path.read_bytes() == before


def test_a_run_may_be_opened_through_a_link(run: Run, tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to(run.path)
    Run.open(tmp_path / "latest").claim({})


def test_an_event_is_not_written_through_a_link_or_a_pipe(
    run: Run, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.write_text("precious")
    run.events_path.unlink(missing_ok=True)
    run.events_path.symlink_to(outside)
    with pytest.raises(RunError, match=r"Cannot write .*events\.jsonl"):
        EventWriter(run.events_path).write("run_started")
    run.events_path.unlink()
    os.mkfifo(run.events_path)
    with pytest.raises(RunError, match="not a regular file"):
        EventWriter(run.events_path).write("run_started")
    assert outside.read_text() == "precious"
