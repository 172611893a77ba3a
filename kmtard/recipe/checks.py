"""All that can be wrong in a recipe, found before anything is started."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from kmtard import registry
from kmtard.recipe.errors import MISSING, Mistake, key_text, mistakes_of
from kmtard.recipe.options import option_mistakes
from kmtard.recipe.schema import Attack, Optimizer, Recipe, Schedule, Section
from kmtard.registry.roles import ROLES, TEACHERS, Role

Table = dict[str, Any]

ADJUSTABLE: dict[str, type[Section]] = {
    "attack": Attack,
    "optimizer": Optimizer,
    "schedule": Schedule,
}


def find_mistakes(document: Table) -> list[Mistake]:
    """Return all mistakes of a recipe as it was read from TOML.

    Each check skips what another one reports, so that a wrong table or name gives
    one mistake and the rest of the recipe is checked all the same.
    """
    mistakes = []
    try:
        Recipe.model_validate(document)
    except ValidationError as error:
        mistakes += mistakes_of(error, model=Recipe)
    for name, table in table_at(document, "methods").items():
        mistakes += _table_mistakes(("methods", name), name, table)
    for role in ROLES:
        mistakes += _party_mistakes(role, document)
    for role in TEACHERS:
        if role in document:
            mistakes += _teacher_mistakes(role, document)
    return mistakes + _selection_mistakes(document) + _surrogate_mistakes(document)


def table_at(document: Table, *path: str) -> Table:
    """Return the table at a path of keys, an empty one if there is none."""
    value: Any = document
    for key in path:
        value = value.get(key, {}) if isinstance(value, dict) else {}
    return value if isinstance(value, dict) else {}


def _table_mistakes(path: tuple[str, ...], name: object, table: Any) -> list[Mistake]:
    """Check a table that may adjust sections: `[methods.NAME]` or a teacher's own."""
    table = table if isinstance(table, dict) else {}
    mistakes = _option_mistakes(path, "methods", name, _without(table, *ADJUSTABLE))
    for key, section in ADJUSTABLE.items():
        try:
            section.model_validate(table_at(table, key))
        except ValidationError as error:
            found = mistakes_of(error, (*path, key), section)
            mistakes += [each for each in found if each.message != MISSING]
    return mistakes


def _party_mistakes(role: Role, document: Table) -> list[Mistake]:
    """Check the network of a role and the method that trains it."""
    party = table_at(document, role)
    network, options = party.get("network"), table_at(party, "options")
    mistakes = _option_mistakes((role, "options"), "networks", network, options)
    mistakes += _missing_mistakes((role, "options"), "networks", network, options)
    path = ("method",) if role == "student" else (role, "method")
    method = table_at(document, *path)
    name, given = method.get("name"), _without(method, "name")
    if role == "student":
        mistakes += _option_mistakes(path, "methods", name, given)
    else:
        mistakes += _table_mistakes(path, name, given)
    given |= table_at(document, "methods", str(name))
    mistakes += _missing_mistakes(path, "methods", name, given)
    return mistakes + _need_mistakes(role, path, name, document)


def _option_mistakes(
    path: tuple[str, ...], table: str, name: object, given: Table
) -> list[Mistake]:
    return option_mistakes(path, table, str(name), given) if _known(table, name) else []


def _missing_mistakes(
    path: tuple[str, ...], table: str, name: object, given: Table
) -> list[Mistake]:
    options = registry.options(table, str(name)) if _known(table, name) else {}
    return [
        Mistake(key_text((*path, key)), MISSING)
        for key, option in options.items()
        if option.required and key not in given
    ]


def _need_mistakes(
    role: Role, path: tuple[str, ...], name: object, document: Table
) -> list[Mistake]:
    """Check that a method gets the teachers it takes."""
    taken = registry.positional("methods", str(name)) if _known("methods", name) else ()
    needed = [teacher for teacher in TEACHERS if teacher in taken]
    if needed and role != "student":
        message = "expected a method that needs no teacher, such as natural or trades"
        return [Mistake(key_text((*path, "name")), message, name)]
    return [
        Mistake(teacher, f"section is missing, but the method {name} needs it")
        for teacher in needed
        if teacher not in document
    ]


def _teacher_mistakes(role: Role, document: Table) -> list[Mistake]:
    """Check that a teacher comes from one place only."""
    teacher = table_at(document, role)
    trained = teacher.get("train") is True
    if trained == ("weights" in teacher):
        message = "expected either weights or train = true"
        received = "both" if trained else "neither"
        return [Mistake(role, f"{message}; received {received}")]
    if trained and "method" not in teacher:
        message = "section is missing, but train = true needs it"
        return [Mistake(f"{role}.method", message)]
    return []


def _selection_mistakes(document: Table) -> list[Mistake]:
    selection = table_at(document, "evaluation").get("selection", "held_out")
    if selection == "held_out" and table_at(document, "data").get("held_out") == 0:
        message = 'expected "test", since data.held_out = 0 keeps no images'
        return [Mistake("evaluation.selection", message, selection)]
    return []


def _known(table: str, name: object) -> bool:
    try:
        registry.positional(table, str(name))
    except registry.RegistryError:
        return False
    return True


def _without(table: Table, *keys: str) -> Table:
    return {key: value for key, value in table.items() if key not in keys}


def _surrogate_mistakes(document: Table) -> list[Mistake]:
    """Refuse transferred images where there is no robust teacher to craft them on."""
    names = table_at(document, "evaluation").get("attacks", [])
    if "adv_teacher" in document or not isinstance(names, list):
        return []
    return [
        Mistake(
            key_text(("evaluation", "attacks")),
            f"{name} needs the table [adv_teacher], the model it transfers from",
        )
        for name in names
        if isinstance(name, str) and _needs_surrogate(name)
    ]


def _needs_surrogate(name: str) -> bool:
    try:
        return "surrogate" in registry.positional("attacks", name)
    except registry.RegistryError:
        return False  # said where the name is checked
