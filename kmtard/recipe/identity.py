"""Hashes of settings, by which equal trainings are recognized."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from kmtard.recipe.former import hashed_training
from kmtard.recipe.schema import Recipe
from kmtard.registry.bounded import open_regular
from kmtard.registry.networks import is_file
from kmtard.registry.roles import Role
from kmtard.registry.since import SINCE_0_1

# Increase it when the same settings begin to give a different teacher.
TEACHER_FORMAT = 1
# Keys of [evaluation] that change what is reported, not how a network is trained.
REPORTED_ONLY = {"attacks", "headline", "suite"}
PIECE = 2**20  # bytes
# Keys of [runtime] that are not part of the settings. A run's name shows the seed.
NOT_SETTINGS = {
    *("runs_dir", "cache_dir", "seed"),
    *("processes", "coordinator", "threads"),
}
# More devices compute the same, but earlier hashes contain their number.
ONE_DEVICE = {"devices": 1}


def teacher_key(recipe: Recipe, role: Role) -> str:
    """Return the hash of all settings that a trained teacher depends on.

    Args:
        recipe: a resolved recipe.
        role: `nat_teacher` or `adv_teacher`.

    Returns:
        16 hexadecimal digits.

    Raises:
        ValueError: the recipe does not train this teacher.
    """
    training = recipe.training(role).model_dump()
    made_of = {
        "format": TEACHER_FORMAT,
        "training": hashed_training(training, recipe.data.name),
        "data": recipe.data.model_dump(exclude=_new_and_empty(recipe)["data"]),
        "selection": recipe.evaluation.model_dump(exclude=REPORTED_ONLY),
        "runtime": recipe.runtime.model_dump(include={"backend", "precision", "seed"}),
    }
    if is_file(training["network"]):
        # The training starts from the weights of this file.
        made_of["file"] = file_digest(training["network"])
    return _digest(made_of)[:16]


def file_digest(path: str) -> str:
    """Return the SHA-256 of a file in hexadecimal; empty if it cannot be read."""
    digest = hashlib.sha256()
    try:
        with open_regular(path) as file:
            while piece := file.read(PIECE):
                digest.update(piece)
    except OSError:
        return ""
    return digest.hexdigest()


def settings_key(recipe: Recipe) -> str:
    """Return the hash of a recipe's settings, the same for every seed.

    The seed, the devices, the processes, the threads, the folders for runs and
    teachers, and `[study]` are left out.

    Args:
        recipe: a resolved recipe.

    Returns:
        16 hexadecimal digits.
    """
    exclude: Any = {"runtime": NOT_SETTINGS, "study": True, **_new_and_empty(recipe)}
    settings = recipe.model_dump(exclude=exclude)
    settings["runtime"] |= ONE_DEVICE
    return _digest(settings)[:16]


def _new_and_empty(recipe: Recipe) -> dict[str, set[str]]:
    """Return section -> its keys that version 0.1 did not have and that are not used.

    Other sections have keys of these names that were hashed from the beginning.
    """
    options, weights = recipe.data.options, recipe.student.weights
    return {
        "data": set() if options else {"options"},
        "student": set() if weights else {"weights"},
    }


def _digest(settings: dict[str, Any]) -> str:
    text = json.dumps(_as_before(settings), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _as_before(value: Any) -> Any:
    """Return settings without the defaults of newer keys: hashes must stay equal."""
    if not isinstance(value, dict):
        return value
    return {
        key: _as_before(item)
        for key, item in value.items()
        if key not in SINCE_0_1 or item != SINCE_0_1[key]
    }
