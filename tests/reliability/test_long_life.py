"""Long runs and many runs: neither memory nor the number of files grows."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from kmtard.runs import Run
from kmtard.runs.library import Library
from tests.reliability.children import Children, only_run
from tests.reliability.server import prepare
from tests.run_folders import make_run

pytestmark = pytest.mark.once("jax")

__all__ = ["make_run"]

STEPS = 20_000
EPOCH = 80
MEGABYTE = 2**20


@pytest.mark.slow
def test_memory_and_files_stay_flat_over_20000_steps(
    children: Children, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(tmp_path)
    memory: list[int] = []
    handles: list[int] = []
    threads: list[int] = []

    def watch(pid: int) -> None:
        try:
            process = psutil.Process(pid)
            if list(tmp_path.glob("runs/*/checkpoints/student/*.npz")):
                memory.append(process.memory_info().rss)
                handles.append(process.num_fds())
                threads.append(process.num_threads())
        except psutil.Error:
            return

    epochs = STEPS // EPOCH
    settings = {
        "data.limit": EPOCH * 16,
        "schedule.epochs": epochs,
        "schedule.milestones": [],
        "evaluation.limit": 16,
    }
    words = []
    for key, value in settings.items():
        words += ["--set", f"{key}={value}"]
    began = time.monotonic()
    ended = children("fit", "tiny.toml", *words, cwd=tmp_path, watch=watch)
    seconds = time.monotonic() - began
    assert ended.code == 0, ended.text
    run = only_run(tmp_path)
    assert len(memory) >= 10
    # The last measurements are during the evaluation, which compiles.
    third = len(memory) // 3
    early = statistics.median(memory[third : third + 5])
    late = statistics.median(memory[-third:])
    with capsys.disabled():
        print(
            f"\n{STEPS} steps in {seconds:.0f} s; memory {early / MEGABYTE:.0f} to "
            f"{late / MEGABYTE:.0f} MB, {min(handles)} to {max(handles)} files, "
            f"{min(threads)} to {max(threads)} threads, "
            f"{run.events_path.stat().st_size:,} bytes of events"
        )
    assert late - early < 24 * MEGABYTE
    # Threads that load data come and go.
    assert max(handles[-third:]) <= max(handles[third : 2 * third]) + 4
    assert max(threads[-third:]) <= max(threads[third : 2 * third]) + 4
    lines = run.events_path.read_text().splitlines()
    steps = [line for line in lines if line.startswith('{"event": "step"')]
    assert len(steps) <= seconds / 5 + 1
    assert len(lines) - len(steps) <= epochs + 20
    assert run.events_path.stat().st_size < 1000 * len(lines)
    assert len(list((run.checkpoints / "student").iterdir())) == 2


@pytest.mark.slow
def test_200_runs_are_listed_quickly_and_with_flat_memory(
    make_run: Callable[..., Run], capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [make_run(f"r{number}", epochs=30, done=30) for number in range(200)]
    library = Library(runs[0].path.parent)
    began = time.process_time()
    assert len(library.scan()) == 200
    first = time.process_time() - began
    process = psutil.Process()
    memory, handles = process.memory_info().rss, process.num_fds()
    began = time.process_time()
    for _ in range(50):
        assert len(library.scan()) == 200
    again = (time.process_time() - began) / 50
    grown = process.memory_info().rss - memory
    with capsys.disabled():
        print(
            f"\n200 runs: first scan {first:.2f} s, later {1000 * again:.1f} ms of "
            f"processor time, {grown / MEGABYTE:.1f} MB more after 50"
        )
    assert first < 10
    assert again < 0.5
    assert grown < 8 * MEGABYTE
    assert process.num_fds() == handles
