"""A queue with killed runners and runs: each run is executed once, to its end."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from kmtard.runs import RunError
from kmtard.runs.queue.entry import Entry
from kmtard.runs.queue.queue import Queue
from tests.launcher.engine_fixtures import program, programs
from tests.reliability.seeds import seeded, seeds

pytestmark = pytest.mark.once("jax")

__all__ = ["programs"]

# It prints nothing, so its log has only the lines of the queue's runner.
WORK = """
import os, sys, time
from kmtard.runs import EventWriter, Run

def note(word):
    descriptor = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{word} {sys.argv[2]} {os.getpid()}\\n".encode())
    os.close(descriptor)

note("begin")
run = Run.create(sys.argv[3], f"run-{sys.argv[2]}", "", {})
events = EventWriter(run.events_path)
events.write("run_started")
time.sleep(float(sys.argv[4]))
note("end")
events.write("run_finished")
"""
PATIENCE = 240.0


@pytest.fixture
def queue(tmp_path: Path, programs: None) -> Iterator[Queue]:
    queue = Queue(tmp_path / "runs")
    yield queue
    for entry in queue.entries():
        if entry.is_alive:
            queue.kill(entry.id)
    if (runner := queue.runner()) is not None and runner.is_alive:
        os.kill(runner.pid, signal.SIGKILL)


class Chaos:
    """A working queue, with random kills of its runner and its runs."""

    def __init__(self, queue: Queue, count: int, random: random.Random) -> None:
        self.queue = queue
        self.random = random
        self.notes = queue.runs_dir.parent / "notes"
        self.killed: Counter[str] = Counter()
        self.runner_kills = 0
        for number in range(count):
            self.add(str(number))

    def add(self, title: str) -> None:
        task = program(
            self.queue.runs_dir.parent / "programs",
            WORK,
            *(self.notes, title, self.queue.runs_dir),
            round(self.random.uniform(0, 0.4), 3),
        )
        self.queue.add(task, title, "")

    def noted(self, word: str) -> Counter[str]:
        text = self.notes.read_text() if self.notes.exists() else ""
        lines = [line.split() for line in text.splitlines()]
        return Counter(line[1] for line in lines if line[0] == word)

    def kill_runner(self) -> bool:
        runner = self.queue.runner()
        if runner is None or not runner.is_alive:
            return False
        os.kill(runner.pid, signal.SIGKILL)
        self.runner_kills += 1
        return True

    def kill_run(self) -> None:
        """Kill a run that has started."""
        begun = self.noted("begin")
        alive = [
            entry
            for entry in self.queue.entries()
            if entry.is_alive and begun[entry.title] > self.killed[entry.title]
        ]
        if alive:
            entry = self.random.choice(alive)
            # Read before the kill, because the run may end on its own meanwhile.
            with_ended = self.noted("end")[entry.title]
            try:
                self.queue.kill(entry.id)
            except RunError:
                return
            self.until_gone(entry)
            if not with_ended and not self.noted("end")[entry.title]:
                self.killed[entry.title] += 1
                self.add(entry.title)

    def until_gone(self, entry: Entry) -> None:
        deadline = time.monotonic() + 20
        while entry.is_alive:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def run(self, runner_kills: int, run_kills: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while any(not entry.is_ended for entry in self.queue.entries()):
            assert time.monotonic() < deadline, "the queue does not finish"
            self.queue.ensure_runner()
            time.sleep(self.random.uniform(0, 0.6))
            if self.runner_kills < runner_kills:
                self.kill_runner()
            if self.killed.total() < run_kills and self.random.random() < 0.5:
                self.kill_run()


def check(queue: Queue, seed: int, count: int, *, limit: int, kills: int) -> None:
    with seeded(seed) as random:
        queue.limit = limit
        chaos = Chaos(queue, count, random)
        chaos.run(runner_kills=kills, run_kills=kills // 4)
        titles = [str(number) for number in range(count)]
        assert chaos.noted("end") == Counter(titles)
        assert chaos.noted("begin") == Counter(titles) + chaos.killed
        states = Counter(entry.state for entry in queue.entries())
        assert states["finished"] == count
        assert states.total() == count + chaos.killed.total()
        assert not list(queue.folder.glob(".tmp-*"))


def test_few_runs_under_kills_are_executed_once(queue: Queue) -> None:
    check(queue, seeds(1)[0], 4, limit=2, kills=4)


@pytest.mark.slow
@pytest.mark.parametrize("seed", seeds(3))
def test_20_runs_under_kills_are_executed_once(queue: Queue, seed: int) -> None:
    check(queue, seed, 20, limit=4, kills=40)
