"""Saving a changed recipe, with its comments and layout."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import InlineTable

from kmtard.recipe import (
    ADJUSTABLE,
    RecipeError,
    implied,
    load,
    method_key,
    read_text,
    table_at,
)
from kmtard.registry.roles import TEACHERS
from kmtard.runs.files import RunError, write_atomic


class SaveError(Exception):
    """A recipe cannot be saved; the text says why."""


def save(
    source: Path, target: Path, *, method: str | None, overrides: Sequence[str]
) -> None:
    """Save a recipe as `--method` and `--set` change it.

    Raises:
        SaveError: it cannot be read or written, or has mistakes. `target` is unchanged.
    """
    try:
        text = changed_text(read_text(source), method, overrides)
        if not _same(text, source, method, overrides):
            raise SaveError(
                f"The layout of {source} does not allow these changes. Edit the file, "
                "or launch the run: its folder gets the whole recipe."
            )
        write_atomic(target, text)
    except (RunError, RecipeError) as error:
        raise SaveError(str(error)) from error
    except OSError as error:
        raise SaveError(f"Cannot save {target}: {error.strerror}.") from error
    except (ValueError, TOMLKitError) as error:
        raise SaveError(f"Cannot change {source}: {error}") from error


def changed_text(text: str, method: str | None, overrides: Sequence[str]) -> str:
    """Return the text of a recipe with a method and overrides in their places.

    Args:
        text: of the file.
        method: another method; None leaves `[method]`.
        overrides: `table.key=value`, with a value in TOML or as bare text.
    """
    document = tomlkit.parse(text)
    if method is not None:
        _write(document, ["method"], {"name": method})
    # What the command line implies must be in the file.
    for override in (*overrides, *implied(document.unwrap(), overrides)):
        key, _, value = override.partition("=")
        for path in _places(document, key.split(".")):
            _write(document, path, _value(value))
    return tomlkit.dumps(document)


def _places(document: Any, path: list[str]) -> list[list[str]]:
    """Return the places of a key from which the student gets its value."""
    method = method_key(document, table_at(document, "method").get("name"))
    if path[0] == "methods" and len(path) > 1:
        path = ["methods", method_key(document, path[1]), *path[2:]]
    *tables, key = path
    if path[0] in ADJUSTABLE:
        adjusted = ["methods", method, *tables]
        if key in table_at(document, *adjusted):
            return [path, [*adjusted, key]]
    if tables == ["method"] and key not in table_at(document, "method"):
        common = ["methods", method]
        taught = [
            method_key(document, table_at(document, role, "method").get("name"))
            for role in TEACHERS
        ]
        if key in table_at(document, *common) and method not in taught:
            return [[*common, key]]
    return [path]


def _write(document: Any, path: Sequence[str], value: Any) -> None:
    *parents, key = path
    table = document
    for parent in parents:
        if parent not in table:
            inline = isinstance(table, InlineTable)
            table[parent] = tomlkit.inline_table() if inline else tomlkit.table()
        table = table[parent]
    old = table.get(key)
    if isinstance(value, dict) and isinstance(old, dict):
        for name in set(old) - set(value):
            del old[name]
        for name, inner in value.items():
            _write(old, [name], inner)
    elif old != value or type(old) is not type(value):
        table[key] = value


def _value(text: str) -> Any:
    try:
        return tomlkit.value(text)
    except (ValueError, TOMLKitError):
        return tomlkit.string(text)


def _same(
    text: str, source: Path, method: str | None, overrides: Sequence[str]
) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / source.name
        trial.write_text(text, encoding="utf-8", newline="")
        wanted = load(source, method=method, overrides=overrides)
        return load(trial) == wanted
