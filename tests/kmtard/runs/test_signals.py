"""Signals reach the run's own process, and no other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kmtard.runs import Run, RunError, signals
from kmtard.runs.processes import is_same_process, process_start_time
from tests.launcher.engine_fixtures import claim, start_run, until

pytestmark = pytest.mark.once("torch")

Running = tuple[Run, subprocess.Popen[str]]


@pytest.fixture(params=["wait"])
def running(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Running]:
    run, process = start_run(tmp_path, end=request.param)
    yield run, process
    process.kill()
    process.communicate()


def test_stop_lets_it_save(running: Running) -> None:
    run, process = running
    signals.stop(run)
    assert process.wait(30) == 0
    assert run.state() == "stopped"
    with pytest.raises(RunError, match="has already stopped"):
        signals.stop(run)


@pytest.mark.parametrize("running", ["deaf"], indirect=True)
def test_kill_ends_what_does_not_listen(running: Running) -> None:
    run, process = running
    signals.stop(run)
    signals.kill(run)
    assert process.wait(30) == -signal.SIGKILL
    assert run.state() == "crashed"
    with pytest.raises(RunError, match="no process"):
        signals.kill(run)


def test_kill_takes_its_group_along() -> None:
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import subprocess, time\n"
            "child = subprocess.Popen(['sleep', '60'])\n"
            "print(child.pid, flush=True)\n"
            "time.sleep(60)",
        ],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    start = process_start_time(worker)
    signals.kill_group(parent.pid, process_start_time(parent.pid))
    until(lambda: not is_same_process(worker, start))
    assert parent.wait(30) == -signal.SIGKILL
    parent.stdout.close()


def test_a_group_of_others_is_left_alone() -> None:
    member = subprocess.Popen(["sleep", "60"])
    assert os.getpgid(member.pid) == os.getpgid(0)
    signals.kill_group(member.pid, process_start_time(member.pid))
    assert member.wait(30) == -signal.SIGKILL  # and this test lives


def test_a_number_given_to_another_process_is_not_signalled(running: Running) -> None:
    run, process = running
    start = process_start_time(process.pid)
    assert start is not None
    claim(run, process_start=start - 1)
    for action in (signals.stop, signals.kill):
        with pytest.raises(RunError, match="no process"):
            action(run)
    with pytest.raises(RunError, match=f"{process.pid} has ended"):
        signals.terminate(process.pid, start - 1)
    assert process.poll() is None


@pytest.mark.parametrize("start", [None, True, "x"])
def test_without_an_identity_nothing_is_signalled(
    running: Running, start: object
) -> None:
    run, process = running
    claim(run, process_start=start)
    assert run.state() == "unknown"
    for action in (signals.stop, signals.kill):
        with pytest.raises(RunError, match="no run.json that identifies"):
            action(run)
    for send in (signals.terminate, signals.kill_group):
        with pytest.raises(RunError, match="No signal was sent"):
            send(process.pid, None)
    assert process.poll() is None


def test_on_another_host_it_is_watched_only(running: Running) -> None:
    run, process = running
    claim(run, host="elsewhere")
    for action in (signals.stop, signals.kill):
        with pytest.raises(RunError, match="on elsewhere: watch only"):
            action(run)
    assert process.poll() is None


def test_what_has_ended_is_said(running: Running) -> None:
    run, process = running
    start = process_start_time(process.pid)
    process.kill()
    process.wait()
    with pytest.raises(RunError, match="has ended"):
        signals.terminate(process.pid, start)


def test_another_user_s_process_is_refused(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(signal, "pidfd_send_signal", refuse)
    with pytest.raises(RunError, match="another user"):
        signals.stop(running[0])
