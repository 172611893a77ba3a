"""List the methods, one line each: description, teachers and settings."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike

from kmtard import registry
from kmtard.recipe import load
from kmtard.registry.roles import LABELS, TEACHERS


def method_lines(recipe: str | PathLike[str] | None = None) -> Iterator[str]:
    """Describe every method of the registry.

    Args:
        recipe: a TOML file. If given, the settings of the recipe are shown in place of
            the methods' defaults, together with optimizer and schedule.

    Raises:
        RecipeError: the recipe is wrong.
    """
    width = max(map(len, registry.METHODS))
    for name in registry.METHODS:
        needed = registry.positional("methods", name)
        teachers = [LABELS[role] for role in TEACHERS if role in needed]
        parts = [
            registry.summary("methods", name),
            f"needs {' and '.join(teachers)}" if teachers else "",
            _defaults(name) if recipe is None else _settings(recipe, name),
        ]
        yield f"{name:{width}}  " + "  |  ".join(filter(None, parts))


def _defaults(name: str) -> str:
    return " ".join(
        f"{option.name}={option.default}"
        for option in registry.options("methods", name).values()
        if option.default is not None
    )


def _settings(recipe: str | PathLike[str], name: str) -> str:
    training = load(recipe, method=name).training("student")
    optimizer, schedule = training.optimizer, training.schedule
    drops = ",".join(map(str, schedule.milestones)) or "none"
    options = [f"{key}={value}" for key, value in training.method_options.items()]
    return " ".join(
        [
            *options,
            f"learning_rate={optimizer.learning_rate:g}",
            f"weight_decay={optimizer.weight_decay:g}",
            *(["nesterov"] if optimizer.nesterov else []),
            f"epochs={schedule.epochs}",
            f"milestones={drops}",
        ]
    )
