"""A recipe: read from TOML, overridden, checked, and resolved to what shall run."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from kmtard.recipe.checks import ADJUSTABLE, Table, find_mistakes, table_at
from kmtard.recipe.errors import Mistake, RecipeError, key_text
from kmtard.recipe.former import hashed_training
from kmtard.recipe.options import complete
from kmtard.recipe.schema import (
    Method,
    Recipe,
    Student,
    Teacher,
    TeacherMethod,
    Training,
)
from kmtard.registry import nearest
from kmtard.registry.roles import TEACHERS, Role

__all__ = [
    "Mistake",
    "Recipe",
    "RecipeError",
    "Role",
    "Training",
    "load",
    "teacher_key",
]

# Raise it when the code makes another teacher of the same settings.
TEACHER_FORMAT = 1

SMOKE_TRAIN_IMAGES = 256
SMOKE_TEST_IMAGES = 128
SMOKE_BATCH_SIZE = 32
SMOKE_SCHEDULE = {"epochs": 2, "milestones": [1]}


AnyStudent = TypeVar("AnyStudent", bound=Student)


class _Override(NamedTuple):
    """A key and the value that the command line gives it."""

    path: tuple[str, ...]
    value: Any


def load(
    path: str | PathLike[str],
    *,
    method: str | None = None,
    overrides: Sequence[str] = (),
    smoke: bool = False,
) -> Recipe:
    """Read a recipe, override, check and resolve it.

    In the result `[attack]`, `[optimizer]`, `[schedule]` and `[method]` are those of
    the student, each teacher's method table holds all of its own, defaults are filled
    in and `methods` is empty: written with `to_toml`, it reads as the same recipe.

    Args:
        path: the TOML file.
        method: trains the student instead of the file's method and its options.
        overrides: `table.key=value` each, the value in TOML or a bare text; they win
            over everything else.
        smoke: shrink data and schedule to a minute's work.

    Raises:
        RecipeError: all that is wrong with the file and the overrides.
    """
    document = _read(Path(path))
    if method is not None:
        document["method"] = {"name": method}
    if smoke:
        _shrink(document)
    changes, mistakes = _parse_all(overrides)
    mistakes += _apply(document, changes)
    set_keys = [key_text(change.path) for change in changes]
    for mistake in find_mistakes(document):
        place = str(path)
        if any(_nested(mistake.key, key) for key in set_keys):
            place = "--set"
        elif method is not None and mistake.key == "method.name":
            place = "--method"
        mistakes.append(replace(mistake, place=place))
    if mistakes:
        raise RecipeError(path, mistakes)
    return _resolved(Recipe.model_validate(document))


def teacher_key(recipe: Recipe, role: Role) -> str:
    """Return the hash of everything that makes a trained teacher.

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
        "data": recipe.data.model_dump(),
        "selection": recipe.evaluation.model_dump(exclude={"attacks", "suite"}),
        "runtime": recipe.runtime.model_dump(include={"backend", "precision", "seed"}),
    }
    text = json.dumps(made_of, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _read(path: Path) -> Table:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        recipes = [file.name for file in path.parent.glob("*.toml")]
        message = f"expected a readable TOML file: {reason}"
        near = nearest(path.name, recipes)
        raise RecipeError(
            path, [Mistake("", message, nearest=near, place=str(path))]
        ) from error
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        lines = text.splitlines() or [""]
        end = f"at line {len(lines)}, column {len(lines[-1]) + 1}"
        message = f"expected TOML: {error}".replace("at end of document", end)
        raise RecipeError(path, [Mistake("", message, place=str(path))]) from error


def _shrink(document: Table) -> None:
    document.setdefault("evaluation", {})
    table_at(document, "evaluation").pop("suite", None)  # takes hours
    _cap(table_at(document, "data"), "limit", SMOKE_TRAIN_IMAGES)
    _cap(table_at(document, "data"), "batch_size", SMOKE_BATCH_SIZE)
    _cap(table_at(document, "evaluation"), "limit", SMOKE_TEST_IMAGES)
    table_at(document, "schedule").update(SMOKE_SCHEDULE)
    adjusting = [("methods", name) for name in table_at(document, "methods")]
    for path in [*adjusting, *((teacher, "method") for teacher in TEACHERS)]:
        schedule = table_at(document, *path, "schedule")
        for key in SMOKE_SCHEDULE:
            schedule.pop(key, None)


def _cap(table: Table, key: str, most: int) -> None:
    value = table.setdefault(key, most)
    if isinstance(value, int):
        table[key] = min(value, most)


def _parsed(text: str) -> _Override:
    """Read `table.key=value`.

    Raises:
        ValueError: the text has another form.
    """
    key, equals, value = text.partition("=")
    # Within an inline table the key can be nothing but a key.
    keys: Any = tomllib.loads(f"table = {{ {key} = {{}} }}")["table"]
    path = []
    while keys:
        [(part, keys)] = keys.items()
        path.append(part)
    if not equals or not path:
        raise ValueError(text)
    try:
        return _Override(tuple(path), tomllib.loads(f"value = {value}")["value"])
    except (ValueError, RecursionError):
        return _Override(tuple(path), value.strip())


def _parse_all(texts: Iterable[str]) -> tuple[list[_Override], list[Mistake]]:
    overrides, mistakes = [], []
    for text in texts:
        try:
            overrides.append(_parsed(text))
        except ValueError:
            shown = " ".join(text.split())
            mistakes.append(Mistake(shown, "expected table.key=value", place="--set"))
    return overrides, mistakes


def _nested(key: str, other: str) -> bool:
    """Tell whether one key is the other, or stands within it."""
    short, long = sorted((key, other), key=len)
    return long == short or long.startswith((f"{short}.", f"{short}["))


def _apply(document: Table, overrides: Sequence[_Override]) -> list[Mistake]:
    """Write the overrides, and drop from the document what would win over them."""
    mistakes = [mistake for each in overrides if (mistake := _write(document, each))]
    name = str(table_at(document, "method").get("name"))
    for override in overrides:
        _write(document, override)
        *tables, key = override.path
        if override.path[0] in ADJUSTABLE:
            table_at(document, "methods", name, *tables).pop(key, None)
        elif tables == ["methods", name] and key != "name":
            table_at(document, "method").pop(key, None)
    return mistakes


def _write(document: Table, override: _Override) -> Mistake | None:
    *parents, key = override.path
    table: Any = document
    for depth, parent in enumerate(parents, start=1):
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            where = key_text(override.path[:depth])
            message = f"expected a table, to set {key_text(override.path)} in"
            return Mistake(where, message, table, place="--set")
    table[key] = override.value
    return None


def _resolved(recipe: Recipe) -> Recipe:
    student = recipe.training("student")
    evaluation = recipe.evaluation
    update = {
        "student": _with_options(recipe.student),
        "method": Method(name=student.method, **student.method_options),
        "methods": {},
        "data": recipe.data.model_copy(
            update={"held_out": 0.0} if evaluation.selection == "test" else {}
        ),
        **{section: getattr(student, section) for section in ADJUSTABLE},
        "evaluation": evaluation.model_copy(
            update={"epsilon": student.attack.epsilon}
            if evaluation.epsilon is None
            else {}
        ),
    }
    for role in TEACHERS:
        if teacher := getattr(recipe, role):
            update[role] = _resolved_teacher(recipe, role, teacher)
    return recipe.model_copy(update=update)


def _resolved_teacher(recipe: Recipe, role: Role, teacher: Teacher) -> Teacher:
    if teacher.method is None:
        return _with_options(teacher)
    training = recipe.training(role)
    sections = {key: getattr(training, key).model_dump() for key in ADJUSTABLE}
    method = TeacherMethod(name=training.method, **sections, **training.method_options)
    return _with_options(teacher).model_copy(update={"method": method})


def _with_options(party: AnyStudent) -> AnyStudent:
    options = complete("networks", party.network, party.options)
    return party.model_copy(update={"options": options})
