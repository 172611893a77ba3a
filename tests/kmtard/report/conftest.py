"""Runs for reports, written without Keras."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from kmtard.evaluation.statistics import wilson_interval
from kmtard.runs import Run
from kmtard.runs.results import SCHEMA
from tests.run_folders import MakeRun, make_run

__all__ = ["make_run"]

RECIPE = """
[data]
name = "{data}"
[student]
network = "{student}"
[nat_teacher]
network = "resnet56"
train = false
[adv_teacher]
network = "wide_resnet_34_10"
train = false
[method]
name = "{method}"
{options}
[attack]
epsilon = {epsilon}
[runtime]
seed = {seed}
"""
EPSILON = 8 / 255
IMAGES = 40
CLASSES = 4
LABELS = [image % CLASSES for image in range(IMAGES)]

Reported = Callable[..., Run]


def column(right: int, seed: int, epsilon: float | None = None) -> dict[str, Any]:
    """Return a column with `right` correctly classified images."""
    order = random.Random(seed).sample(range(IMAGES), IMAGES)
    good = set(order[:right])
    answers = [
        LABELS[i] if i in good else (LABELS[i] + 1) % CLASSES for i in range(IMAGES)
    ]
    return {
        "accuracy": right / IMAGES,
        "w_robust_accuracy": right / IMAGES,
        "interval": list(wilson_interval(right, IMAGES)),
        "correct": right,
        "worst_class": {"label": 0, "accuracy": 0.1},
        "epsilon": epsilon,
        "settings": {} if epsilon is None else {"kind": "PGD", "epsilon": epsilon},
        "cost": {
            **{"queries": 20.0, "median_queries": None, "max_queries": 20},
            **{"forwards": 21.0, "backwards": 20.0, "seconds": 0.5},
        },
        "distance": {"linf": 0.1, "l2": None},
        "stages": None,
        "robust": "".join("01"[i in good] for i in range(IMAGES)),
        "predictions": " ".join(map(str, answers)),
    }


def network(
    role: str, attacks: Mapping[str, int], seed: int, epsilon: float, clean: int
) -> dict[str, Any]:
    """Return a network with the given number of correct images per attack."""
    found = {name: column(right, seed, epsilon) for name, right in attacks.items()}
    for each in found.values():
        each["w_robust_accuracy"] = (clean / IMAGES + each["accuracy"]) / 2
    return {
        "role": role,
        "name": role,
        "weights": f"{role} {seed}",
        "seconds": 12.5 if role == "student" else None,
        "clean": column(clean, seed),
        "attacks": found,
        "worst_case": column(min([clean, *attacks.values()]), seed),
        "findings": [{"name": "few-classes", "message": "4 classes"}],
    }


def corruptions(names: Mapping[str, int]) -> dict[str, Any]:
    """Return the corruptions of a network, with the correct images of each severity."""

    def share(right: int) -> dict[str, Any]:
        interval = list(wilson_interval(right, IMAGES))
        return {"accuracy": right / IMAGES, "interval": interval, "correct": right}

    scores = {
        name: {
            **share(right),
            "severities": [share(right)] * 5,
            "settings": {"source": "generated", "difference": "a generated texture"},
            "baseline": None,
        }
        for name, right in names.items()
    }
    return {**share(20), "mce": None, "scores": scores}


def record(
    attacks: Mapping[str, int],
    *,
    seed: int = 0,
    epsilon: float = EPSILON,
    clean: int = 36,
) -> dict[str, Any]:
    """Return the record of a student and its teachers."""
    roles = ("nat_teacher", "adv_teacher", "student")
    return {
        "schema": SCHEMA,
        "data": "the test images",
        "images": IMAGES,
        "labels": " ".join(map(str, LABELS)),
        "headline": "pgd_trades",
        "conditions": {"images": "f00", "seed": seed, "epsilon": epsilon},
        "environment": {"backend": "jax", "versions": {"keras": "3.15.1"}},
        "networks": [network(each, attacks, seed, epsilon, clean) for each in roles],
        "pictures": {"folder": "evaluation/images", "indices": [0, 3]},
    }


@pytest.fixture
def reported(make_run: MakeRun) -> Reported:
    """Return a function that writes a finished run with everything a report shows."""

    def make(
        method: str = "b_mtard",
        seed: int = 0,
        *,
        data: str = "cifar10",
        student: str = "resnet18",
        epsilon: float = EPSILON,
        attacks: Mapping[str, int] | None = None,
        clean: int = 36,
        options: str = "",
        evaluated: bool = True,
        **details: Any,
    ) -> Run:
        about = {"data": data, "student": student, "method": method}
        recipe = RECIPE.format(options=options, epsilon=epsilon, seed=seed, **about)
        argv = ["kmtard", "fit", "recipes/own file.toml"]
        details = {"argv": argv, "versions": {"keras": "3.15.1"}, **details}
        name = f"{method}-s{seed}"
        run = make_run(name, epochs=3, done=3, recipe=recipe, **details)
        # `claim` records the command of this process.
        run.info_path.write_text(json.dumps({**run.info(), **details}))
        if evaluated:
            attacks = {"pgd_trades": 20} if attacks is None else attacks
            content = record(attacks, seed=seed, epsilon=epsilon, clean=clean)
            run.evaluation_path.write_text(json.dumps(content))
            write_pictures(run.path / "evaluation" / "images", attacks)
        return run

    return make


def write_pictures(folder: Path, attacks: Mapping[str, int]) -> None:
    """Write two images per column."""
    for number, column in enumerate(("clean", *attacks)):
        (folder / column).mkdir(parents=True)
        for index in (0, 3):
            image = Image.new("RGB", (4, 4), (100 + 8 * number, 50, 200 - 8 * number))
            image.save(folder / column / f"{index:06d}.png")
