"""The user's changes to a recipe, as a command line and as mistakes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from kmtard.recipe import (
    ADJUSTABLE,
    SMOKE_SCHEDULE,
    Mistake,
    Recipe,
    RecipeError,
    Table,
    key_text,
    load,
    method_key,
    table_at,
)
from kmtard.registry.roles import ROLES, TEACHERS
from launcher.recipes.fields import Field, written
from launcher.recipes.form import Section, sections
from launcher.recipes.recipe_files import RecipeFile

NEEDED = "expected a value: this key can be left out in the file only"


@dataclass(frozen=True)
class Draft:
    """The user's changes to a recipe.

    Attributes:
        method: the student's method; None for the file's.
        smoke: whether to train for a minute only.
        edits: `Field.identity` -> what the user wrote.
    """

    method: str | None = None
    smoke: bool = False
    edits: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def edited(self, field: Field, text: str) -> Draft:
        """Return the draft with another text in a field."""
        edits = {**self.edits, field.identity: text}
        if text == field.value:
            del edits[field.identity]
        return Draft(self.method, self.smoke, edits)


@dataclass(frozen=True)
class Checked:
    """A draft with its form, mistakes and command line.

    Attributes:
        file: the recipe.
        draft: the changes.
        sections: the form; empty if the file cannot be read.
        overrides: arguments of `--set` for the changes.
        runs_override: another one, if needed, for the launcher's folder of runs.
        mistakes: all mistakes.
        recipe: what would run; None if there are mistakes.
    """

    file: RecipeFile
    draft: Draft
    sections: tuple[Section, ...]
    overrides: tuple[str, ...]
    runs_override: tuple[str, ...]
    mistakes: tuple[Mistake, ...]
    recipe: Recipe | None

    @property
    def method(self) -> str:
        """The student's method."""
        return self.draft.method or self.file.method

    @cached_property
    def changed(self) -> list[Field]:
        """The fields whose value differs from the file."""
        return [
            each for each in _fields(self.sections) if _is_changed(each, self.draft)
        ]

    @cached_property
    def by_field(self) -> dict[str, list[Mistake]]:
        """Key of a field -> its mistakes; "" for mistakes of no field."""
        known = {each.key for each in _fields(self.sections)}
        found: dict[str, list[Mistake]] = {}
        table = key_text(("methods", method_key(self.file.document, self.method)))
        for mistake in self.mistakes:
            key = _field_key(mistake.key, table)
            found.setdefault(key if key in known else "", []).append(mistake)
        return found


def check(
    file: RecipeFile, draft: Draft, runs_dir: Path, *, foreign: str | None = None
) -> Checked:
    """Build the form of a recipe, and check the changes in it.

    Args:
        file: the recipe.
        draft: the changes.
        runs_dir: the launcher's folder of runs.
        foreign: why code that the file names cannot be trusted, as for `load`.
    """
    method = draft.method or file.method
    form = sections(file.document, method, draft.edits) if file.document else ()
    overrides = tuple(_overrides(file.document, form, draft))
    runs_override = _runs_override(form, draft, runs_dir)
    mistakes = list(_emptied(form, draft))
    recipe = None
    try:
        recipe = load(
            file.path,
            method=draft.method,
            overrides=(*overrides, *runs_override),
            smoke=draft.smoke,
            foreign=foreign,
        )
    except RecipeError as error:
        mistakes += error.mistakes
    recipe = None if mistakes else recipe
    return Checked(file, draft, form, overrides, runs_override, tuple(mistakes), recipe)


def _fields(form: Iterable[Section]) -> Iterator[Field]:
    for section in form:
        yield from section.fields


def _is_changed(field: Field, draft: Draft) -> bool:
    return draft.edits.get(field.identity, field.value) != field.value


def _overrides(document: Table, form: Iterable[Section], draft: Draft) -> Iterator[str]:
    """Yield the tables that lose keys, then the changed keys."""
    changed = [each for each in _fields(form) if _is_changed(each, draft)]
    fewer = _tables_with_fewer_keys(document, changed, draft)
    for path in sorted(fewer, key=len):
        yield f"{key_text(path)}={written(fewer[path])}"
    for each in changed:
        if text := _text_to_set(each, draft):
            yield each.argument(text)


def _text_to_set(field: Field, draft: Draft) -> str:
    text = draft.edits[field.identity].strip()
    return "[]" if field.kind == "list" and not text else text


def _can_be_left_out(field: Field) -> bool:
    """Return whether `--set` can remove a key, by writing its table without it."""
    return field.path[0] in ROLES


def _tables_with_fewer_keys(
    document: Table, changed: Iterable[Field], draft: Draft
) -> dict[tuple[str, ...], Table]:
    fewer: dict[tuple[str, ...], Table] = {}
    for each in changed:
        *parents, key = each.path
        path = tuple(parents)
        if key == "network" and (options := (*path, "options")):
            if table_at(document, *options):
                fewer[options] = {}
        elif key == "name" and path[0] in TEACHERS:
            own = table_at(document, *path)
            if set(own) - {key, *ADJUSTABLE}:
                fewer[path] = {k: v for k, v in own.items() if k in ADJUSTABLE}
        elif not _text_to_set(each, draft) and _can_be_left_out(each):
            table = fewer.setdefault(path, dict(table_at(document, *path)))
            table.pop(key, None)
    if draft.smoke:
        # The values in these tables would override --smoke.
        return {path: _without_smoke_schedule(fewer[path]) for path in fewer}
    return fewer


def _without_smoke_schedule(table: Table) -> Table:
    return {
        key: _without_smoke_schedule(value) if isinstance(value, dict) else value
        for key, value in table.items()
        if key not in SMOKE_SCHEDULE
    }


def _emptied(form: Iterable[Section], draft: Draft) -> Iterator[Mistake]:
    for each in _fields(form):
        if _is_changed(each, draft) and not _text_to_set(each, draft):
            if not _can_be_left_out(each):
                yield Mistake(each.key, NEEDED, place="form")


def _runs_override(
    form: Iterable[Section], draft: Draft, runs_dir: Path
) -> tuple[str, ...]:
    for each in _fields(form):
        if each.key == "runtime.runs_dir" and not _is_changed(each, draft):
            folder = os.path.expanduser(each.value or each.blank)
            if Path(folder).absolute() != runs_dir.absolute():
                return (each.argument(str(runs_dir.absolute())),)
    return ()


def _field_key(key: str, table: str) -> str:
    """Return the key of the field that a mistake is about.

    Args:
        key: of the mistake.
        table: key of the file's table for the student's method.
    """
    key = re.sub(r"\[\d+\].*", "", key)
    if not key.startswith(f"{table}."):
        return key
    inner = key.removeprefix(f"{table}.")
    return inner if inner.split(".")[0] in ADJUSTABLE else f"method.{inner}"
