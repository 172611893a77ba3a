"""The teachers that a run needs, and whether the files of their weights are there."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from kmtard import registry
from kmtard.evaluation.suites import SUITES, needs_surrogate
from kmtard.recipe import Mistake, Recipe, RecipeError, teacher_key
from kmtard.registry.roles import LABELS, TEACHERS, Role
from kmtard.runs.files import LockedError, RunError, lock_for_life

# By how many points a teacher may be below its expected accuracy. Training images are
# easier than the test images that published numbers are of.
SLACK = 5.0
# Their accuracy is off by a point at most, one time in three.
CHECKED_IMAGES = 2000
PAUSE = 1.0  # seconds between two looks at a teacher that another run trains


def needed_teachers(recipe: Recipe) -> list[Role]:
    """Return those that the method takes, or that images are transferred from."""
    evaluation = recipe.evaluation
    attacks = (*evaluation.attacks, *SUITES.get(evaluation.suite or "", ()))
    needed = {*registry.positional("methods", recipe.method.name)}
    if any(map(needs_surrogate, attacks)):
        needed.add("adv_teacher")
    return [role for role in TEACHERS if role in needed and getattr(recipe, role)]


def cached_weights(recipe: Recipe, role: Role) -> Path:
    """Return the file that keeps a teacher once it is trained."""
    name = f"{role}-{teacher_key(recipe, role)}.weights.h5"
    return Path(recipe.runtime.cache_dir) / name


def wait_for_turn(
    cached: Path, role: Role, check: Callable[[], None], line: Callable[[str], None]
) -> bool:
    """Return whether this process is to train a teacher that is not there yet.

    While another process trains it, this one waits: for the teacher, or for the other
    process to end without it. The right stays with this process until it ends.

    Args:
        cached: the file that keeps the teacher.
        role: of the teacher.
        check: called while waiting; may raise to stop it.
        line: called with a line of text for the user.

    Raises:
        RunError: the folder cannot be made, or has no locks.
    """
    lock = cached.with_name(f".{cached.name}.lock")
    told = False
    while not cached.exists():
        try:
            cached.parent.mkdir(parents=True, exist_ok=True)
            lock_for_life(lock)
        except LockedError:
            if not told:
                line(f"{LABELS[role]}: another run trains it, waiting for {cached}")
                told = True
            check()
            time.sleep(PAUSE)
        except OSError as error:
            raise RunError(
                f"Cannot make {cached.parent}: {error.strerror}. Choose another place "
                "with runtime.cache_dir."
            ) from error
        else:
            # It may have been finished just before.
            return not cached.exists()
    return False


def missing_weights(recipe: Recipe) -> list[Role]:
    """Return the needed teachers that are read from files which are not there."""
    files = {role: getattr(recipe, role).weights for role in needed_teachers(recipe)}
    return [role for role, file in files.items() if file and not Path(file).is_file()]


def check_weights(recipe: Recipe, path: str) -> None:
    """Refuse a recipe whose teachers cannot be read.

    Args:
        recipe: resolved.
        path: its file, for the message.

    Raises:
        RecipeError: files are missing; says which, of what, and where to get them.
    """
    mistakes = []
    for role in missing_weights(recipe):
        teacher = getattr(recipe, role)
        message = (
            f"expected this file with the weights of {teacher.network}, there is none; "
            f"get it{f' from {teacher.source}' if teacher.source else ''}, or write "
            "train = true in its place"
        )
        key = f"{role}.weights"
        mistakes.append(Mistake(key, message, teacher.weights, place=path))
    if mistakes:
        raise RecipeError(path, mistakes)


def trained_instead(recipe: Recipe) -> Recipe:
    """Return a recipe that trains, by their method tables, the teachers missing."""
    update = {
        str(role): teacher.model_copy(update={"weights": None, "train": True})
        for role in missing_weights(recipe)
        if (teacher := getattr(recipe, role)).method is not None
    }
    return recipe.model_copy(update=update)


def check_accuracy(recipe: Recipe, role: Role, network: Any, split: Any) -> str | None:
    """Refuse a teacher from a file that is far below its expected accuracy.

    Args:
        recipe: resolved; says what is expected.
        role: of the teacher.
        network: Keras model with the weights of the file.
        split: training images with their labels, `data.pipeline.Split`.

    Returns:
        A line with what was measured, None where nothing is expected.

    Raises:
        RunError: more than 5 points below; says the likely cause and what to do.
    """
    teacher = getattr(recipe, role)
    expected = teacher.expected_accuracy
    if expected is None:
        return None
    part = split.limit(CHECKED_IMAGES)
    size = recipe.data.batch_size
    right = 0
    for start in range(0, len(part), size):
        images = np.asarray(part.images[start : start + size], "float32") / 255
        classes = network.predict_on_batch(images).argmax(-1)
        right += int((classes == part.labels[start : start + size]).sum())
    measured = 100 * right / len(part)
    found = f"{measured:.2f} % of {len(part)} training images right"
    if measured >= expected - SLACK:
        return f"{LABELS[role]}: {found}, {expected:g} % expected"
    raise RunError(
        f"The {LABELS[role]} from {teacher.weights!r} gets only {found}; "
        f"{role}.expected_accuracy is {expected:g} %. Likely cause: its images are "
        "standardized in another way than when it was trained. Set mean and std in "
        f"[{role}.options], to values or to the name of a data set, to those of its "
        "training. Other causes: weights for other classes, or for the classes in "
        "another order. If the file is as it should be, correct expected_accuracy."
    )
