"""Check and convert each value of a recipe, in one pass."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar, cast

from pydantic import ValidationError

from kmtard.recipe.document import Table, method_key, table_at, without
from kmtard.recipe.errors import Mistake, key_text, mistakes_of
from kmtard.recipe.options import defaults, missing_options, read_options
from kmtard.recipe.relations import mismatches
from kmtard.recipe.schema import (
    ADJUSTABLE,
    CHANGES,
    Method,
    Options,
    Recipe,
    Section,
    Student,
    Teacher,
    TeacherMethod,
)
from kmtard.registry import canonical
from kmtard.registry.roles import ROLES, TEACHERS, Role

AnyStudent = TypeVar("AnyStudent", bound=Student)


class _MethodTable(NamedTuple):
    """A table that names a method or belongs to one, with converted values.

    Attributes:
        options: the method's options.
        changes: section -> the keys that differ from the recipe's section.
    """

    options: Options
    changes: dict[str, Options]


class _Party(NamedTuple):
    """The converted options of a network and of the method that trains it."""

    network_options: Options
    method: _MethodTable


NOTHING = _MethodTable({}, {key: {} for key in ADJUSTABLE})


def validate(document: Table) -> tuple[Recipe | None, list[Mistake]]:
    """Check a recipe and resolve it.

    Each check skips what another check reports. A wrong table or name therefore gives
    one mistake, and the rest of the recipe is still checked.

    Args:
        document: the recipe as read from TOML, with the overrides applied.

    Returns:
        The resolved recipe, or None if there are mistakes, and all mistakes. Their
        `place` is empty.
    """
    mistakes: list[Mistake] = []
    recipe = None
    try:
        recipe = Recipe.model_validate(document)
    except ValidationError as error:
        mistakes += mistakes_of(error, model=Recipe)
    common = _common_tables(document, mistakes)
    parties = {role: _party(role, document, mistakes) for role in ROLES}
    data = _data_options(document, mistakes)
    mistakes += mismatches(document)
    if recipe is None or mistakes:
        return None, mistakes
    return _resolved(recipe, common, parties, data), []


def _data_options(document: Table, mistakes: list[Mistake]) -> Options:
    """Read the options of the data set."""
    path, name = ("data", "options"), table_at(document, "data").get("name")
    given = table_at(document, *path)
    options = read_options(path, "datasets", name, given, mistakes)
    mistakes += missing_options(path, "datasets", name, given)
    return options


def _common_tables(document: Table, mistakes: list[Mistake]) -> dict[str, _MethodTable]:
    """Read the tables of `[methods]`, by the canonical names of the methods."""
    tables: dict[str, _MethodTable] = {}
    spelled: dict[str, str] = {}
    for key, table in table_at(document, "methods").items():
        name = canonical("methods", key)
        if name in spelled:
            message = (
                f"expected one table for the method {name}, which already has "
                f"[{key_text(('methods', spelled[name]))}]; keep one of the two"
            )
            mistakes.append(Mistake(key_text(("methods", key)), message))
        spelled[name] = key
        tables[name] = _method_table(("methods", key), name, table, mistakes)
    return tables


def _method_table(
    path: tuple[str, ...], name: object, table: Any, mistakes: list[Mistake]
) -> _MethodTable:
    """Read a table that may change sections: `[methods.NAME]` or `[TEACHER.method]`."""
    table = table if isinstance(table, dict) else {}
    given = without(table, *ADJUSTABLE)
    options = read_options(path, "methods", name, given, mistakes)
    changes = {}
    for key, model in CHANGES.items():
        try:
            changed = model.model_validate(table_at(table, key))
            changes[key] = changed.model_dump(exclude_unset=True)
        except ValidationError as error:
            mistakes += mistakes_of(error, (*path, key), model)
    return _MethodTable(options, changes)


def _party(role: Role, document: Table, mistakes: list[Mistake]) -> _Party:
    """Read the options of a role's network, and the table of its method."""
    path, network = (role, "options"), table_at(document, role).get("network")
    given = table_at(document, *path)
    options = read_options(path, "networks", network, given, mistakes)
    mistakes += missing_options(path, "networks", network, given)
    return _Party(options, _own_table(role, document, mistakes))


def _own_table(role: Role, document: Table, mistakes: list[Mistake]) -> _MethodTable:
    """Read `[method]`, or a teacher's method table, which may change sections."""
    path: tuple[str, ...] = ("method",) if role == "student" else (role, "method")
    table = table_at(document, *path)
    name, given = table.get("name"), without(table, "name")
    if role == "student":
        read = read_options(path, "methods", name, given, mistakes)
        method = NOTHING._replace(options=read)
    else:
        method = _method_table(path, name, given, mistakes)
    common = table_at(document, "methods", method_key(document, name))
    mistakes += missing_options(path, "methods", name, given | common)
    return method


def _resolved(
    recipe: Recipe,
    common: dict[str, _MethodTable],
    parties: dict[Role, _Party],
    data_options: Options,
) -> Recipe:
    student, name = parties["student"], recipe.method.name
    shared = common.get(name, NOTHING)
    options = _filled("methods", name, shared.options, student.method.options)
    update: dict[str, Any] = {
        "student": _with_options(recipe.student, student),
        "method": Method.model_construct(name=name, **options),
        "methods": {},
        **_sections(recipe, shared),
    }
    for role in TEACHERS:
        if getattr(recipe, role) is not None:
            update[role] = _teacher(recipe, role, common, parties[role])
    # Without the defaults: a data set that is read as before keeps its hash.
    update["data"] = recipe.data.model_copy(update={"options": data_options or None})
    if recipe.evaluation.selection == "test":
        update["data"] = update["data"].model_copy(update={"held_out": 0.0})
    evaluation, attack = recipe.evaluation, update["attack"]
    ball = {
        key: getattr(attack, key)
        for key in ("epsilon", "norm")
        if getattr(evaluation, key) is None
    }
    update["evaluation"] = evaluation.model_copy(update=ball)
    return recipe.model_copy(update=update)


def _teacher(
    recipe: Recipe, role: Role, common: dict[str, _MethodTable], party: _Party
) -> Teacher:
    teacher = _with_options(cast(Teacher, getattr(recipe, role)), party)
    if teacher.method is None:
        return teacher
    name = teacher.method.name
    shared, own = common.get(name, NOTHING), party.method
    table = _filled("methods", name, shared.options, own.options)
    for key, section in _sections(recipe, shared, own).items():
        table[key] = section.model_dump()
    method = TeacherMethod.model_construct(name=name, **table)
    return teacher.model_copy(update={"method": method})


def _with_options(party: AnyStudent, read: _Party) -> AnyStudent:
    options = _filled("networks", party.network, read.network_options)
    return party.model_copy(update={"options": options})


def _filled(table: str, name: str, *given: Options) -> Options:
    options = defaults(table, name)
    for each in given:
        options |= each
    return options


def _sections(recipe: Recipe, *tables: _MethodTable) -> dict[str, Section]:
    """Return the adjustable sections with the changes of `tables` applied."""
    sections = {key: getattr(recipe, key) for key in ADJUSTABLE}
    for table in tables:
        for key, changes in table.changes.items():
            sections[key] = sections[key].model_copy(update=changes)
    return sections
