"""Evaluated runs with saved images, written without Keras."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from kmtard.evaluation.statistics import wilson_interval
from kmtard.runs import Run
from kmtard.runs.results import SCHEMA

NAMES = ("cat", "[b]dog", "sailing ship")
LABELS = [image % 3 for image in range(12)]
CLEAN = [*LABELS[:11], 0]
"""The last image is wrong without an attack, so that it is not attacked."""

ATTACKED = {
    # Fooled: images 1 and 4, which are dogs, and 8, a ship.
    "pgd_trades": [
        2 if i in (1, 4) else 0 if i == 8 else c for i, c in enumerate(CLEAN)
    ],
    "fgsm": [2 if i == 1 else c for i, c in enumerate(CLEAN)],
}
EPSILON = 8 / 255
SIDE = 8

MakeEvaluated = Callable[..., Run]


def _score(
    answers: list[int], clean: list[int], epsilon: float | None
) -> dict[str, Any]:
    rows = zip(answers, clean, LABELS, strict=True)
    robust = [answer == label == before for answer, before, label in rows]
    right = sum(robust)
    return {
        "accuracy": right / len(LABELS),
        "w_robust_accuracy": right / len(LABELS),
        "interval": list(wilson_interval(right, len(LABELS))),
        "correct": right,
        "worst_class": {"label": 0, "accuracy": 0.1},
        "settings": {} if epsilon is None else {"epsilon": epsilon},
        "cost": None,
        "distance": None,
        "stages": None,
        "robust": "".join("01"[bit] for bit in robust),
        "predictions": " ".join(map(str, answers)),
        "confidences": {str(i): 0.9 - 0.01 * i for i in range(11)},
    }


def record(epsilon: float = EPSILON, **changes: Any) -> dict[str, Any]:
    """Return the content of a record."""
    student = {
        "role": "student",
        "name": "student",
        "weights": "abc",
        "seconds": None,
        "clean": _score(CLEAN, CLEAN, None),
        "attacks": {name: _score(a, CLEAN, epsilon) for name, a in ATTACKED.items()},
        "worst_case": _score(ATTACKED["pgd_trades"], CLEAN, None),
        "findings": [],
    }
    return {
        "schema": SCHEMA,
        "data": "animals (test)",
        "images": len(LABELS),
        "labels": " ".join(map(str, LABELS)),
        "class_names": list(NAMES),
        "headline": "pgd_trades",
        "conditions": {"images": "f00", "seed": 0, "epsilon": epsilon},
        "environment": {"backend": "jax"},
        "networks": [student],
        "pictures": {"folder": "evaluation/images", "indices": list(range(12))},
        **changes,
    }


def write_pictures(run: Run) -> Path:
    """Save all images clean, and the attacked ones; return the folder."""
    folder = run.path / "evaluation" / "images"
    for column in ("clean", *ATTACKED):
        (folder / column).mkdir(parents=True, exist_ok=True)
        for index in range(12):
            change = 0 if column == "clean" else 8
            pixel = (20 * index + change, 100, 200 - change)
            if column == "clean" or index < 11:
                image = Image.new("RGB", (SIDE, SIDE), pixel)
                image.save(folder / column / f"{index:06d}.png")
    return folder


@pytest.fixture
def make_robust(make_run: Callable[..., Run]) -> MakeEvaluated:
    """Return a function that makes an evaluated run with saved images.

    Its arguments are changes of the record, and `others`: a mapping from the name of a
    further record to its content.
    """

    def make(others: Mapping[str, dict[str, Any]] | None = None, **changes: Any) -> Run:
        run = make_run()
        write_pictures(run)
        run.evaluation_path.write_text(json.dumps(record(**changes)))
        for name, content in (others or {}).items():
            path = run.path / "evaluation" / f"{name}.json"
            path.write_text(json.dumps(content))
        return run

    return make
