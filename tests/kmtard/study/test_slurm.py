"""A study on a real SLURM: preempted and killed runs end like undisturbed ones."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kmtard.runs import Run, list_runs
from tests.kmtard.conftest import RECIPE, ROOT
from tests.kmtard.study.slurm_cluster import INSTALL, cluster, missing_programs
from tests.kmtard.training.test_resume import epochs, facts

pytestmark = [pytest.mark.slow, pytest.mark.once("jax")]

STUDY = """
[runtime]
backend = "jax"

[study]
methods = ["b_mtard", "natural"]
seeds = [0, 1]

[study.slurm]
partition = "low"
gpus = 0
cpus = 1
"""
EPOCHS = 200
PATIENCE = 900.0


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    """Start a cluster with one node; return the environment of its users."""
    if missing := missing_programs():
        pytest.fail(f"Not installed: {', '.join(missing)}. Install with: {INSTALL}")
    # Sockets have short paths.
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    with cluster(folder) as found:
        yield {**found, "PYTHONPATH": str(ROOT)}
    shutil.rmtree(folder)


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"timed out waiting until {what}"
        time.sleep(0.2)


class Study:
    """The command `kmtard study` in its own folder."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.environment = folder, environment
        folder.mkdir()
        text = RECIPE.replace("epochs = 3\n", f"epochs = {EPOCHS}\n")
        (folder / "tiny.toml").write_text(text + STUDY)

    def start(self, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "kmtard.study", "tiny.toml", *words]
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def call(self, *words: str) -> tuple[int, str]:
        process = self.start(*words)
        text, _ = process.communicate(timeout=PATIENCE)
        return process.returncode, text

    def runs(self) -> dict[str, Run]:
        return {run.name: run for run in list_runs(self.folder / "runs")}

    def run(self, start: str) -> Run:
        [found] = [run for name, run in self.runs().items() if name.startswith(start)]
        return found

    def is_training(self, start: str) -> bool:
        if not any(name.startswith(start) for name in self.runs()):
            return False
        done = [each for each in epochs(self.run(start)) if each["phase"] == "student"]
        return 2 <= len(done) < EPOCHS // 2


def slurm(environment: dict[str, str], *command: str) -> str:
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_four_cells_with_one_preempted_and_one_killed(
    environment: dict[str, str], tmp_path: Path
) -> None:
    broken = Study(tmp_path / "broken", environment)
    first = broken.start("--on", "slurm")
    until(lambda: broken.is_training("b_mtard-s0"), "the first run trains")
    number = str(broken.run("b_mtard-s0").info()["slurm_job"])
    # A job of higher priority takes all cores of the node.
    urgent = subprocess.Popen(
        ["srun", "--partition=high", "--exclusive", "sleep", "5"], env=environment
    )
    until(lambda: broken.run("b_mtard-s0").state() == "stopped", "it is preempted")
    assert urgent.wait(PATIENCE) == 0
    listed = slurm(environment, "squeue", "--noheader", "--format=%A %T")
    assert f"{number} PENDING" in listed
    for line in listed.splitlines():
        # SLURM waits for two minutes before it starts such a job again.
        with_number = f"JobId={line.split()[0]}"
        if "PENDING" in line:
            slurm(environment, "scontrol", "update", with_number, "StartTime=now")
    until(lambda: broken.is_training("natural-s0"), "a run without teachers trains")
    os.kill(int(broken.run("natural-s0").info()["pid"]), signal.SIGKILL)
    text, _ = first.communicate(timeout=PATIENCE)
    assert first.returncode == 1, text
    assert "crashed: natural,s0" in text
    assert "Not finished: 1 of 4 cells." in text
    code, text = broken.call("--on", "slurm")
    assert code == 0, text
    events = [event["event"] for event in broken.run("b_mtard-s0").events().poll()]
    assert events.count("run_started") == 2, "it continued once"

    # The environment of the second study has no SLURM variables.
    alone = {**os.environ, "PYTHONPATH": str(ROOT)}
    whole = Study(tmp_path / "whole", alone)
    code, text = whole.call("--jobs", "2")
    assert code == 0, text
    assert len(whole.runs()) == len(broken.runs()) == 4
    for name, run in whole.runs().items():
        assert facts(broken.runs()[name]) == facts(run), name
    tables = [next(each.folder.rglob("table.md")) for each in (broken, whole)]
    assert tables[0].read_text() == tables[1].read_text()
