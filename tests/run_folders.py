"""Run folders as runs make them, generated."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from kmtard.runs import EventWriter, Run
from tests.kmtard.runs.test_results import record

RECIPE = Path(__file__).parents[1] / "recipes" / "digits.toml"
"""The recipe that the tests launch and show."""


def epoch_metrics(epoch: int, epochs: int) -> dict[str, float]:
    """Return metrics that a student's epoch could have."""
    done = epoch / epochs
    clean, robust = 0.5 + 0.45 * done, 0.2 + 0.4 * done
    return {
        "learning_rate": 0.1,
        "loss": 2.0 - done,
        "nat_loss": 1.0 - done / 2,
        "adv_loss": 1.2 - done / 2,
        "nat_weight": 0.5 - 0.1 * done,
        "adv_weight": 0.5 + 0.1 * done,
        "nat_temperature": 1.0 + done,
        "adv_temperature": 1.0,
        "nat_entropy": 0.2 + done,
        "adv_entropy": 1.5,
        "relative_nat_loss": 1.0 - done / 2,
        "relative_adv_loss": 1.0 - done / 3,
        "clean_accuracy": clean,
        "robust_accuracy": robust,
        "w_robust_accuracy": (clean + robust) / 2,
    }


MakeRun = Callable[..., Run]


@pytest.fixture
def recipe_path() -> Path:
    """The recipe of the digits."""
    return RECIPE


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Return a function that makes a run folder, as of `state`, with some epochs."""

    def make(
        name: str = "digits-b-mtard",
        *,
        state: str = "finished",
        epochs: int = 4,
        done: int = 4,
        phases: Iterable[str] = ("nat_teacher", "adv_teacher", "student"),
        recipe: str | None = None,
        **info: Any,
    ) -> Run:
        text = recipe if recipe is not None else RECIPE.read_text()
        run = Run.create(tmp_path / "runs", name, text, {"backend": "jax", **info})
        events = EventWriter(run.events_path)
        events.write("run_started", resumed=False, method="b_mtard")
        for phase in phases:
            events.write("phase_started", phase=phase, step=0, epochs=epochs)
            for epoch in range(1, done + 1):
                metrics = epoch_metrics(epoch, epochs)
                events.write(
                    "epoch",
                    phase=phase,
                    epoch=epoch,
                    step=10 * epoch,
                    seconds=1.5,
                    metrics=metrics,
                )
        if state == "finished":
            events.write("run_finished", metrics={})
        elif state == "stopped":
            events.write("run_stopped")
        elif state == "failed":
            events.write("run_failed", reason="ValueError: [b]no[/b] luck")
        elif state in ("crashed", "remote"):
            _owned_by(
                run, socket.gethostname() if state == "crashed" else "elsewhere", info
            )
        return run

    return make


def _owned_by(run: Run, host: str, info: dict[str, Any]) -> None:
    owner = {**run.info(), "pid": 2**22 + 1, "process_start": 1.0, "host": host}
    run.info_path.write_text(json.dumps({**owner, **info}))


EVALUATED = """
[data]
name = "digits"
[student]
network = "small_cnn"
[method]
name = "{}"
[attack]
epsilon = {}
[runtime]
seed = {}
"""


@pytest.fixture
def evaluated(make_run: MakeRun) -> Callable[..., Path]:
    """Return a function that makes an evaluated run."""

    def make(
        seed: int, epsilon: float = 0.1, method: str = "b_mtard", **changes: object
    ) -> Path:
        run = make_run(recipe=EVALUATED.format(method, epsilon, seed), epochs=1, done=1)
        content = {**record(), **changes}
        student = content["networks"][-1]
        student["clean"]["accuracy"] = 0.5 + 0.1 * seed
        student["attacks"]["pgd_trades"]["accuracy"] = 0.2
        for score in student["attacks"].values():
            score["settings"]["epsilon"] = epsilon
        student["attacks"]["pgd_trades"]["w_robust_accuracy"] = 0.35 + 0.05 * seed
        run.evaluation_path.write_text(json.dumps(content))
        return run.path

    return make
