"""A resumed run ends with the same result as an uninterrupted one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from kmtard.commands.fit import main
from kmtard.runs import Run, list_runs
from kmtard.training.callbacks import Progress
from tests.run_facts import epochs, facts

# Bit for bit on every backend are also the tests of the distiller and of precision.
pytestmark = pytest.mark.once("torch")

STEPS = 4  # an epoch
Process = subprocess.CompletedProcess[str]
Fit = Callable[..., Process]


class Stage(NamedTuple):
    """The output of one process of the run, and a copy of its folder."""

    process: Process
    run: Run


def newest(run: Run, role: str) -> int:
    """The step of the newest checkpoint."""
    return max(int(path.stem) for path in (run.checkpoints / role).glob("*.npz"))


@pytest.fixture(scope="module")
def stages(
    recipe: Path, fit: Fit, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Stage]:
    """One run that is interrupted four times and then finished."""
    folder = tmp_path_factory.mktemp("broken")
    text = recipe.read_text().replace(str(recipe.parent), str(folder))
    arguments = [folder / recipe.name]
    arguments[0].write_text(text)
    endings = {
        "stopped in a teacher's epoch": "robust teacher:6:SIGTERM",
        "killed between two phases": "adv_teacher.weights.h5:1:SIGKILL",
        "killed in the student's epoch": "student:7:SIGKILL",
        "stopped in the student's epoch": "student:2:SIGTERM",
        "whole": None,
    }
    found = {}
    for name, ending in endings.items():
        process = fit(*arguments, ending=ending)
        [run] = list_runs(folder / "runs")
        copy = Run.open(shutil.copytree(run.path, folder / name))
        found[name] = Stage(process, copy)
        arguments = ["--resume", run.path]
    return found


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("stopped in a teacher's epoch", "adv_teacher"),
        ("stopped in the student's epoch", "student"),
    ],
)
def test_sigterm_ends_the_batch_and_saves_within_the_epoch(
    stages: dict[str, Stage], name: str, role: str
) -> None:
    process, run = stages[name]
    assert process.returncode == 0, process.stdout + process.stderr
    assert run.events().poll()[-1]["event"] == "run_stopped"
    assert newest(run, role) == STEPS + 2
    told = [event["epoch"] for event in epochs(run) if event["phase"] == role]
    assert told == [1], "the broken epoch is not over"
    assert "stopped; continue with: python -m kmtard.fit --resume" in process.stdout
    assert not run.evaluation_path.exists()


def test_kill_between_two_phases_leaves_a_teacher_that_is_trained(
    stages: dict[str, Stage],
) -> None:
    process, run = stages["killed between two phases"]
    assert process.returncode == -signal.SIGKILL
    assert newest(run, "adv_teacher") == 2 * STEPS
    assert not (run.checkpoints / "student").exists()


def test_kill_in_mid_epoch_leaves_the_resume_point_before_it(
    stages: dict[str, Stage],
) -> None:
    process, run = stages["killed in the student's epoch"]
    assert process.returncode == -signal.SIGKILL
    assert newest(run, "student") == STEPS
    assert [e["epoch"] for e in epochs(run) if e["phase"] == "student"] == [1]


def test_each_process_goes_on_where_the_last_one_was(stages: dict[str, Stage]) -> None:
    started = [
        (event["phase"], event["step"])
        for event in stages["whole"].run.events().poll()
        if event["event"] == "phase_started" and event["phase"] != "evaluation"
    ]
    assert started == [
        ("nat_teacher", 0),
        ("adv_teacher", 0),
        ("adv_teacher", STEPS + 2),
        ("adv_teacher", 2 * STEPS),
        ("student", 0),
        ("student", STEPS),
        ("student", STEPS + 2),
    ]


def test_cache_holds_each_teacher_once(stages: dict[str, Stage]) -> None:
    cache = stages["whole"].run.path.parent / "teachers"
    roles = sorted(path.name.split("-")[0] for path in cache.glob("*.h5"))
    assert roles == ["adv_teacher", "nat_teacher"]


def test_broken_run_ends_bit_for_bit_as_the_unbroken(
    stages: dict[str, Stage], finished: tuple[Process, Run]
) -> None:
    process, run = stages["whole"]
    assert process.returncode == 0, process.stdout + process.stderr
    assert run.state() == "finished"
    broken, unbroken = facts(run), facts(finished[1])
    assert broken.keys() == unbroken.keys()
    assert [name for name in broken if broken[name] != unbroken[name]] == []


def test_milestone_after_the_break_is_kept(stages: dict[str, Stage]) -> None:
    rates = [
        event["metrics"]["learning_rate"]
        for event in epochs(stages["whole"].run)
        if event["phase"] == "student"
    ]
    assert rates == pytest.approx([0.1, 0.1, 0.01])


def test_teachers_of_an_earlier_process_are_cached_in_the_table(
    stages: dict[str, Stage],
) -> None:
    lines = stages["whole"].process.stdout.splitlines()
    rows = [line for line in lines if line.startswith(("│ clean t", "│ robust t"))]
    assert [row.count("cached") for row in rows] == [1, 1]


def stop_at(monkeypatch: pytest.MonkeyPatch, batch: int | None) -> None:
    """Let this very process get SIGTERM when its BATCH-th batch begins."""
    seen: list[int] = []

    def on_train_batch_begin(self: Progress, step: int, logs: Any = None) -> None:
        seen.append(step)
        if len(seen) == batch:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Progress, "on_train_batch_begin", on_train_batch_begin)


@pytest.mark.every_backend
@pytest.mark.quick("jax", "torch")
@pytest.mark.parametrize(
    ("method", "option"),
    [
        ("fair_ard", "class_weights"),
        ("absld", "nat_class_temperature"),
        ("iad", None),
    ],
)
def test_state_of_the_epochs_survives(
    method: str,
    option: str | None,
    recipe: Path,
    finished: tuple[Process, Run],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Stopped within the second of three epochs."""
    del finished  # has trained the teachers
    runs = []
    for name, stops in {"unbroken": (), "broken": (6,)}.items():
        folder = tmp_path / name
        arguments = [str(recipe), "--method", method]
        arguments += ["--set", f"runtime.runs_dir={folder}"]
        if method == "iad":
            arguments += ["--set", "methods.iad.begin=1"]
        for batch in (*stops, None):
            stop_at(monkeypatch, batch)
            assert main(arguments) == 0
            [run] = list_runs(folder)
            arguments = ["--resume", str(run.path)]
        runs.append(run)
    unbroken, broken = map(facts, runs)
    assert unbroken.keys() == broken.keys()
    assert [name for name in broken if broken[name] != unbroken[name]] == []
    if option is not None:
        states = [event["classes"][option] for event in epochs(runs[1])]
        assert len(states) == 3 and len(states[0]) == 10
        # With clipped values, two epochs may give the same.
        assert states[0] != [1.0] * 10 and len({str(state) for state in states}) > 1
