"""The teachers that a run needs, and checks of the files with their weights."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kmtard import registry
from kmtard.evaluation.suites import SUITES, needs_surrogate
from kmtard.recipe import Mistake, Recipe, RecipeError, teacher_key
from kmtard.registry.roles import LABELS, TEACHERS, Role
from kmtard.runs.files import LockedError, RunError, lock_for_life

# How many points a teacher may be below its expected accuracy. Published accuracies are
# on test images, and a teacher is usually better on its training images.
SLACK = 5.0
# With this many images, the standard error of the accuracy is about one point.
CHECKED_IMAGES = 2000
PAUSE = 1.0  # seconds between two looks at a teacher that another run trains


def needed_teachers(recipe: Recipe) -> list[Role]:
    """Return the teachers that the method takes or that a transfer attack uses."""
    evaluation = recipe.evaluation
    attacks = (*evaluation.attacks, *SUITES.get(evaluation.suite or "", ()))
    needed = {*registry.positional("methods", recipe.method.name)}
    if any(map(needs_surrogate, attacks)):
        needed.add("adv_teacher")
    return [role for role in TEACHERS if role in needed and getattr(recipe, role)]


def cached_weights(recipe: Recipe, role: Role) -> Path:
    """Return the file in the cache for a trained teacher."""
    name = f"{role}-{teacher_key(recipe, role)}.weights.h5"
    return Path(recipe.runtime.cache_dir) / name


def wait_for_turn(
    cached: Path, role: Role, check: Callable[[], None], line: Callable[[str], None]
) -> bool:
    """Return whether this process must train a missing teacher.

    If another process is training it, wait until the teacher is finished or the other
    process has ended. The lock is held until this process ends.

    Args:
        cached: the file of the teacher.
        role: the teacher's role.
        check: called while waiting; may raise an exception to stop waiting.
        line: called with a line of text for the user.

    Raises:
        RunError: the folder cannot be created, or its file system has no locks.
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
                f"Cannot create {cached.parent}: {error.strerror}. Choose another one "
                "with runtime.cache_dir."
            ) from error
        else:
            # The other process may have finished it just before.
            return not cached.exists()
    return False


def missing_weights(recipe: Recipe) -> list[Role]:
    """Return the needed teachers whose files of weights do not exist."""
    files = {role: getattr(recipe, role).weights for role in needed_teachers(recipe)}
    return [role for role, file in files.items() if file and not Path(file).is_file()]


def check_weights(recipe: Recipe, path: str) -> None:
    """Check that the files with the teachers' weights exist.

    Args:
        recipe: the resolved recipe.
        path: the recipe's file, for the message.

    Raises:
        RecipeError: files are missing. The text says which files, of which networks,
            and where to get them.
    """
    mistakes = []
    for role in missing_weights(recipe):
        teacher = getattr(recipe, role)
        message = (
            f"expected this file with the weights of {teacher.network}, which does not "
            f"exist; get it{f' from {teacher.source}' if teacher.source else ''}, or "
            "replace the key by train = true"
        )
        key = f"{role}.weights"
        mistakes.append(Mistake(key, message, teacher.weights, place=path))
    if mistakes:
        raise RecipeError(path, mistakes)


def trained_instead(recipe: Recipe) -> Recipe:
    """Return a recipe that trains the missing teachers that have a method table."""
    update = {
        str(role): teacher.model_copy(update={"weights": None, "train": True})
        for role in missing_weights(recipe)
        if (teacher := getattr(recipe, role)).method is not None
    }
    return recipe.model_copy(update=update)


def check_accuracy(recipe: Recipe, role: Role, network: Any, split: Any) -> str | None:
    """Check that a teacher from a file is not far below its expected accuracy.

    Args:
        recipe: the resolved recipe, with the expected accuracy.
        role: the teacher's role.
        network: Keras model with the weights from the file.
        split: training images with their labels, a `data.pipeline.Split`.

    Returns:
        A line with the measured accuracy; None if the recipe expects none.

    Raises:
        RunError: the accuracy is more than 5 points lower. The text names the likely
            cause and says what to do.
    """
    teacher = getattr(recipe, role)
    expected = teacher.expected_accuracy
    if expected is None:
        return None
    # Commands import this module before they need NumPy, which takes a moment.
    import numpy as np

    part = split.limit(CHECKED_IMAGES)
    size = recipe.data.batch_size
    right = 0
    for start in range(0, len(part), size):
        images = np.asarray(part.images[start : start + size], "float32") / 255
        classes = network.predict_on_batch(images).argmax(-1)
        right += int((classes == part.labels[start : start + size]).sum())
    measured = 100 * right / len(part)
    found = f"{measured:.2f} % on {len(part)} training images"
    if measured >= expected - SLACK:
        return f"{LABELS[role]}: accuracy {found}, expected {expected:g} %"
    raise RunError(
        f"Expected an accuracy of about {expected:g} % ({role}.expected_accuracy) from "
        f"the {LABELS[role]} in {teacher.weights!r}. Received: {found}. Likely cause: "
        "images are standardized differently than in its training. Set mean and std in "
        f"[{role}.options] to the values of its training, or to the name of a data "
        "set. Other causes: the weights are for other classes, or for another order of "
        "the classes. If the file is correct, correct expected_accuracy."
    )
