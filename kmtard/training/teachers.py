"""The teachers that a run needs, and whether the files of their weights are there."""

from __future__ import annotations

from pathlib import Path

from kmtard import registry
from kmtard.evaluation.suites import SUITES, needs_surrogate
from kmtard.recipe import Mistake, Recipe, RecipeError, teacher_key
from kmtard.registry.roles import TEACHERS, Role


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
