"""Build the networks of recipes, and try their trainings, in a separate process.

`python -m kmtard.study.measure` reads JSON from standard input and writes JSON to
standard output. The process that watches a study never imports Keras, which would
reserve GPU memory that the runs need.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from importlib import import_module
from typing import Any, TypedDict

from kmtard.recipe import Recipe
from kmtard.recipe.validation import validate
from kmtard.registry import modules
from kmtard.runs import RunError
from kmtard.training.startup import silent_native_code
from kmtard.training.teachers import needed_teachers

# Building a network needs no accelerator, and must not take its memory from the runs.
ON_CPU = {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
LONGEST_REASON = 500


class Measured(TypedDict):
    """Sizes and times of a recipe's networks.

    Attributes:
        values: role -> number of values in its network.
        trained: role -> number of trainable values in its network.
        seconds: role -> estimated seconds of its training; empty without trials.
    """

    values: dict[str, int]
    trained: dict[str, int]
    seconds: dict[str, float]


def measured(
    recipes: Sequence[Recipe], *, trials: bool = False, imports: Sequence[str] = ()
) -> list[Measured]:
    """Return the sizes and times of recipes that share a backend.

    Args:
        recipes: resolved recipes. Code that they name is imported.
        trials: whether to try the trainings, which takes minutes.
        imports: the user's own modules that the recipes may name.

    Raises:
        RunError: the process failed.
    """
    if not recipes:
        return []
    backend = recipes[0].runtime.backend
    question = {
        "recipes": [each.to_toml() for each in recipes],
        "trials": trials,
        "imports": list(imports),
    }
    done = subprocess.run(
        [sys.executable, "-m", "kmtard.study.measure"],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "KERAS_BACKEND": backend,
            "TF_CPP_MIN_LOG_LEVEL": "3",
            **({} if trials else ON_CPU),
        },
    )
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        last = (done.stderr.strip().splitlines() or ["the reason is unknown"])[-1]
        raise RunError(f"The networks cannot be built: {last[:LONGEST_REASON]}")
    answers: list[Measured] = json.loads(lines[-1])
    return answers


def _measure(recipe: Recipe, *, trials: bool) -> Measured:
    from kmtard.training.build import build_network
    from kmtard.training.estimate import counts_of, facts_of
    from kmtard.training.schedules import EvaluationEpochs
    from kmtard.training.trial import Trial, generated, parameters

    facts = facts_of(recipe)
    data = generated(recipe, facts.shape, facts.classes)
    answer = Measured(values={}, trained={}, seconds={})
    for role in ("student", *needed_teachers(recipe)):
        network = build_network(recipe, role, data)
        answer["values"][role] = int(network.count_params())
        answer["trained"][role] = parameters(network)
        if not trials or (role != "student" and not getattr(recipe, role).train):
            continue
        trial, counts = Trial(recipe, role, data), counts_of(recipe, facts)
        steps = counts.steps * trial.training.schedule.epochs
        # One more evaluation follows at the end of the run.
        evaluations = 1 + len(EvaluationEpochs(trial.training, lambda: False))
        batches = counts.batches * evaluations
        seconds = trial.step().total(steps) + trial.evaluation().total(batches)
        answer["seconds"][role] = seconds
    return answer


def main() -> int:
    """Answer the question on standard input."""
    question: dict[str, Any] = json.load(sys.stdin)
    for module in question["imports"]:
        modules.allow(module)
    with silent_native_code():
        import_module("kmtard.training.estimate")
    modules.import_allowed()
    answers = []
    for text in question["recipes"]:
        recipe, _ = validate(tomllib.loads(text))
        if recipe is not None:
            answers.append(_measure(recipe, trials=question["trials"]))
    sys.stdout.write(json.dumps(answers) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
