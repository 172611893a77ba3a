"""One run on several devices and in several processes, as a user starts it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kmtard.commands.fit import main
from kmtard.evaluation.result import Evaluation
from kmtard.recipe import load
from kmtard.runs import Run, list_runs
from kmtard.training import together
from tests.kmtard.conftest import ENDING, ROOT
from tests.run_facts import epochs

pytestmark = pytest.mark.once("jax")

DEVICES = "--xla_force_host_platform_device_count"
STEPS = 5  # an epoch: four batches of 16 images, and one of 6
# With TRADES, which the recipe has for this teacher, rounding forks a training.
CHANGES = ("--set", "data.limit=70", "--set", 'adv_teacher.method.name="sat"')
WITHIN = 60.0  # seconds
ENDLESS = ("--method", "trades", "--set", "schedule.epochs=100000")


def environment(devices: int, **variables: str) -> dict[str, str]:
    flags = f"{os.environ['XLA_FLAGS']} {DEVICES}={devices}"
    # See the threads of `agreement`.
    own = {"PYTHONPATH": str(ROOT), "XLA_FLAGS": flags, "NPROC": "32"}
    return {**os.environ, **own, **variables}


def trained(
    recipe: Path, folder: Path, devices: int, *words: str, ending: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command in a process that sees 4 devices."""
    command = ["-m", "kmtard.fit"] if ending is None else ["-c", ENDING, ending]
    given = [*words, "--devices", str(devices)]
    if "--resume" not in words:
        given = [str(recipe), *places(folder), *CHANGES, *given]
    return subprocess.run(
        [sys.executable, *command, *given],
        env=environment(4),
        capture_output=True,
        text=True,
    )


def places(folder: Path) -> list[str]:
    kept = (
        f'runtime.runs_dir="{folder / "runs"}"',
        f'runtime.cache_dir="{folder / "teachers"}"',
    )
    return [word for each in kept for word in ("--set", each)]


def only_run(folder: Path) -> Run:
    [run] = list_runs(folder / "runs")
    return run


def last_state(run: Run) -> dict[str, np.ndarray]:
    newest = max((run.checkpoints / "student").glob("*.npz"))
    with np.load(newest) as arrays:
        return {f"{newest.name}/{name}": array for name, array in arrays.items()}


def check_agreement(run: Run, other: Run) -> None:
    """Check that two runs are the same: whole numbers exactly, others to 1e-5."""
    first, second = last_state(run), last_state(other)
    assert first.keys() == second.keys()
    for name, array in first.items():
        if array.dtype.kind in "iu":  # steps, seeds: the place in the stream
            np.testing.assert_array_equal(array, second[name], name)
        elif array.dtype.kind == "f":
            np.testing.assert_allclose(array, second[name], atol=1e-5, err_msg=name)
    for one, two in zip(epochs(run), epochs(other), strict=True):
        assert (one["phase"], one["epoch"], one["step"]) == (
            *(two["phase"], two["epoch"], two["step"]),
        )
        for name, value in one["metrics"].items():
            assert value == pytest.approx(two["metrics"][name], abs=1e-5), name
    found, others = (Evaluation.load(each.path) for each in (run, other))
    for network, peer in zip(found.networks, others.networks, strict=True):
        assert network.clean_accuracy == peer.clean_accuracy
        assert network.robust_accuracy == peer.robust_accuracy


@pytest.fixture(scope="module")
def alone(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run on one device."""
    folder = tmp_path_factory.mktemp("alone")
    process = trained(recipe, folder, 1)
    assert process.returncode == 0, process.stdout + process.stderr
    return only_run(folder)


@pytest.mark.slow
@pytest.mark.parametrize(("first", "then"), [(4, 1), (1, 4), (4, 2)])
def test_a_checkpoint_goes_on_with_another_number_of_devices(
    alone: Run, recipe: Path, tmp_path: Path, first: int, then: int
) -> None:
    process = trained(recipe, tmp_path, first, ending="student:7:SIGTERM")
    assert process.returncode == 0, process.stdout + process.stderr
    run = only_run(tmp_path)
    assert run.state() == "stopped" and run.info()["devices"] == first
    process = trained(recipe, tmp_path, then, "--resume", str(run.path))
    assert process.returncode == 0, process.stdout + process.stderr
    assert run.info()["devices"] == then
    check_agreement(alone, run)


@pytest.fixture
def port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        number: int = found.getsockname()[1]
    return number


class Processes:
    """Two processes of one run over loopback.

    Args:
        words: of both commands.
        port: of the first process.
        devices: of each process.
        folder: for what they say.
    """

    def __init__(self, words: list[str], port: int, devices: int, folder: Path) -> None:
        self.folder = folder
        self.all = [
            subprocess.Popen(
                [sys.executable, "-m", "kmtard.fit", *words, "--processes", "2"],
                env=environment(
                    devices,
                    KERAS_DISTRIBUTION_PROCESS_ID=str(number),
                    KERAS_DISTRIBUTION_JOB_ADDRESSES=f"127.0.0.1:{port}",
                    TMPDIR=str(self._temporary(number)),
                ),
                stdout=open(folder / f"said{number}", "w"),  # noqa: SIM115
                stderr=subprocess.STDOUT,
            )
            for number in range(2)
        ]

    def _temporary(self, number: int) -> Path:
        place = self.folder / f"temporary{number}"
        place.mkdir()
        return place

    def said(self, number: int) -> str:
        return (self.folder / f"said{number}").read_text()

    def codes(self, within: float | None = None) -> list[int]:
        deadline = None if within is None else time.monotonic() + within
        for each in self.all:
            each.wait(deadline and max(0.1, deadline - time.monotonic()))
        return [each.returncode for each in self.all]

    def until_epoch(self, number: int) -> None:
        """Wait until the first process has told an epoch of the student."""
        text = f"student  epoch {number:>3}/"
        while text not in self.said(0):
            assert self.all[0].poll() is None, self.said(0)
            time.sleep(0.1)

    def end(self) -> None:
        for each in self.all:
            if each.poll() is None:
                each.kill()
                each.wait()


@pytest.fixture
def two(recipe: Path, port: int, tmp_path: Path) -> Iterator[Any]:
    """`two(devices, *words)` starts two processes with this number of devices each."""
    begun: list[Processes] = []

    def start(devices: int, *words: str) -> Processes:
        given = [*words, "--devices", str(2 * devices)]
        if "--resume" not in words:
            given = [str(recipe), *places(tmp_path), *CHANGES, *given]
        folder = tmp_path / f"processes{len(begun)}"
        folder.mkdir()
        begun.append(Processes(given, port, devices, folder))
        return begun[-1]

    yield start
    for each in begun:
        each.end()


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_two_processes_agree_with_one_and_one_of_them_writes(
    alone: Run, two: Any, tmp_path: Path, devices: int
) -> None:
    processes = two(devices)
    assert processes.codes() == [0, 0], processes.said(0) + processes.said(1)
    run = only_run(tmp_path)
    check_agreement(alone, run)
    assert (run.info()["devices"], run.info()["processes"]) == (2 * devices, 2)
    assert run.info()["pid"] == processes.all[0].pid
    names = [event["event"] for event in run.events().poll()]
    assert names.count("run_started") == names.count("run_finished") == 1
    assert "student: best epoch" not in processes.said(1)
    left = [*(processes.folder / "temporary1").glob("kmtard-*")]
    assert not left, "the copy of the run was not removed"


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_other_and_the_run_can_be_resumed(
    two: Any, recipe: Path, tmp_path: Path, victim: int
) -> None:
    processes = two(1, *ENDLESS)
    processes.until_epoch(2)
    processes.all[victim].kill()
    began = time.monotonic()
    codes = processes.codes(within=WITHIN)
    assert time.monotonic() - began < WITHIN
    assert codes[victim] == -signal.SIGKILL and codes[1 - victim] != 0
    said = processes.said(1 - victim)
    # Where the first process ends, JAX may be quicker than we are.
    assert "Another process of this run" in said or "another task died" in said
    run = only_run(tmp_path)
    assert run.state() in ("failed", "crashed")
    again = two(1, "--resume", str(run.path))
    again.until_epoch(4)
    again.all[1].send_signal(signal.SIGTERM)
    assert again.codes() == [0, 0], again.said(0) + again.said(1)
    assert run.state() == "stopped", "both stop after the same batch"
    started = [e for e in run.events().poll() if e["event"] == "phase_started"]
    # The second epoch may have been told but not yet saved before the kill.
    assert started[-1]["phase"] == "student" and started[-1]["step"] >= STEPS


@pytest.mark.slow
def test_a_process_that_no_longer_answers_ends_the_other(
    two: Any, tmp_path: Path
) -> None:
    processes = two(1, *ENDLESS)
    processes.until_epoch(2)
    processes.all[1].send_signal(signal.SIGSTOP)
    processes.all[0].wait(WITHIN)
    assert processes.all[0].returncode != 0
    assert only_run(tmp_path).state() in ("failed", "crashed")


def test_more_devices_than_there_are_are_refused_before_a_run_is_made(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(recipe), *places(tmp_path), "--devices", "8"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "runtime.devices = 8: Expected 8 devices. Received: 1, which" in said
    assert not (tmp_path / "runs").exists()


def test_processes_need_to_know_each_other(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--devices", "2", "--processes", "2", *places(tmp_path)]
    assert main([str(recipe), *words]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "The 2 processes of this run cannot be connected" in said
    assert "runtime.coordinator (host:port of the first one)" in said
    assert not (tmp_path / "runs").exists()


def test_a_copy_of_a_run_has_what_a_resume_needs(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "runs", "here", "", {})
    (run.checkpoints / "student").mkdir()
    (run.checkpoints / "student" / "0000000004.npz").write_bytes(b"state")
    run.log_path.write_text("long")
    packed = together._packed(run.path)
    copy = Run(together._unpacked(packed, tmp_path / "copy"))
    assert copy.path == tmp_path / "copy" / "here"
    kept = (copy.checkpoints / "student" / "0000000004.npz").read_bytes()
    assert kept == b"state" and copy.best.is_dir() and copy.info() == run.info()
    assert not copy.log_path.exists() and not (copy.path / ".lock").exists()


class Line:
    """What the first process tells another one, in a process of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
        self.said: list[bytes] = []
        known = together.distribution.Process(number, 2)
        monkeypatch.setattr(together.distribution, "process", lambda: known)
        monkeypatch.setattr(together.distribution, "broadcast", self._broadcast)

    def _broadcast(self, data: bytes | None) -> bytes:
        if data is None:
            return self.said.pop(0)
        self.said.append(data)
        return data


@pytest.mark.parametrize("is_turn", [True, False])
def test_all_processes_agree_on_who_trains_a_teacher(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_turn: bool
) -> None:
    first, other = tmp_path / "first", tmp_path / "other" / "copy"
    first.write_bytes(b"weights")
    checks: list[int] = []

    def wait(check: Any) -> bool:
        check()
        return is_turn

    def refuse(check: Any) -> bool:
        raise AssertionError("only the first process looks at the cache")

    line = Line(monkeypatch, 0)
    assert together.agreed_turn(first, lambda: checks.append(0), wait) == is_turn
    said, line = line.said, Line(monkeypatch, 1)
    line.said = said
    assert together.agreed_turn(other, lambda: checks.append(1), refuse) == is_turn
    assert checks == [0, 1] and not line.said
    assert other.exists() != is_turn
    assert is_turn or other.read_bytes() == b"weights"


def test_another_process_caches_its_teachers_in_its_copy(
    recipe: Path, tmp_path: Path
) -> None:
    resolved, run = load(recipe), Run(tmp_path / "copy" / "run")
    assert together.Crew(2, 0, 2).own(resolved, run) is resolved
    own = together.Crew(2, 1, 2).own(resolved, run)
    assert own.runtime.cache_dir == str(tmp_path / "copy" / "teachers")
    assert own.student == resolved.student
