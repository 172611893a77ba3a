"""Processes in place of training, and ways to wait for them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.app import App

from kmtard.runs import Run
from kmtard.runs.queue.task import Task

PATIENCE = 30.0

RUN = """
import signal, sys, threading
from kmtard.runs import EventWriter, Run
name, end = sys.argv[1:3]
run = Run.create(sys.argv[3], name, "[data]\\n", {"backend": "jax"})
events = EventWriter(run.events_path)
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
if end == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
events.write("run_started", resumed=False)
print("ready", flush=True)
if end in ("wait", "deaf"):
    while not asked:
        signal.pause()
    events.write("run_stopped")
elif end == "fail":
    events.write("run_failed", reason="no luck")
    sys.exit(1)
else:
    events.write("run_finished", metrics={})
"""
"""A run that ends as its second argument says, without Keras."""


STAND_IN = Path(__file__).parents[1] / "stand_in"


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes that are started run recipes that are Python programs."""
    path = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(STAND_IN), path]))


def program(folder: Path, code: str, *words: object) -> Task:
    """Return the task that runs a program, where `programs` are run.

    The words are in `sys.argv` after the program.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{uuid.uuid4().hex}.py"
    argv = [str(path), *map(str, words)]
    path.write_text(f"import sys\nsys.argv = {argv!r}\n{code}")
    return Task.fit(path)


def run_program(runs_dir: Path, name: str, end: str = "finish") -> Task:
    """Return the task of a stand-in: `end` is finish, fail, wait or deaf."""
    return program(runs_dir / ".programs", RUN, name, end, runs_dir)


def run_command(runs_dir: Path, name: str, end: str = "finish") -> list[str]:
    """Return the command of a stand-in: `end` is finish, fail, wait or deaf."""
    return [sys.executable, "-c", RUN, name, end, str(runs_dir)]


def start_run(
    runs_dir: Path, name: str = "r", end: str = "wait"
) -> tuple[Run, subprocess.Popen[str]]:
    """Start a stand-in, a session of its own, and wait until it runs."""
    process = subprocess.Popen(
        run_command(runs_dir, name, end),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return Run(runs_dir / name), process


def until(condition: Callable[[], object], patience: float = PATIENCE) -> None:
    """Wait for a condition, and fail where it does not come true."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)


def told(app: App[None]) -> str:
    """Return the messages that the user sees."""
    return " ".join(each.message for each in app._notifications)


def claim(run: Run, **owner: object) -> None:
    """Change who owns a run, in its run.json."""
    run.info_path.write_text(json.dumps({**run.info(), **owner}))
