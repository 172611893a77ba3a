"""Execute a recipe in its run folder; see also `startup.begin`."""

from __future__ import annotations

import resource
from collections.abc import Callable

from rich.progress import Progress as Bar

from kmtard import backend
from kmtard.evaluation.result import Evaluation
from kmtard.recipe import Recipe
from kmtard.registry import modules
from kmtard.runs import EventWriter, Run
from kmtard.runs.visible import telling_warnings
from kmtard.training.evaluation import row
from kmtard.training.experiment import Experiment
from kmtard.training.stopping import StopSignal


def train(
    recipe: Recipe,
    run: Run,
    stop: StopSignal,
    line: Callable[[str], None],
    bar: Bar | None = None,
) -> Evaluation:
    """Train and evaluate the networks of a run that has begun.

    Args:
        recipe: the resolved recipe.
        run: the run, which this process has claimed.
        stop: says whether to end early.
        line: called with each line of text for the user.
        bar: a started Rich progress bar, or None without a terminal.

    Raises:
        Stopped: a signal was received. A checkpoint has been saved.
        RunError: see `Experiment`; so are all others.
    """
    modules.import_allowed()
    with telling_warnings(line):
        return Experiment(recipe, run, stop, line, bar).execute()


def finish(run: Run, events: EventWriter, evaluation: Evaluation) -> None:
    """Write that a run has finished, with its results and what it used."""
    metrics = row(evaluation.student, evaluation.headline)
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 2**10
    memory = {"host": host, "device": backend.peak_memory()}
    events.write(
        "run_finished", metrics=metrics, devices=backend.devices(), peak_memory=memory
    )
