"""A recipe as TOML gives it: tables of values that nothing has checked yet."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from kmtard.recipe.errors import Mistake, RecipeError
from kmtard.registry import canonical, nearest

Table = dict[str, Any]


def read(path: Path) -> Table:
    """Read a TOML file.

    Raises:
        RecipeError: the file cannot be read, or is not TOML.
    """
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


def table_at(document: Table, *path: str) -> Table:
    """Return the table at a path of keys, an empty one if there is none."""
    value: Any = document
    for key in path:
        value = value.get(key, {}) if isinstance(value, dict) else {}
    return value if isinstance(value, dict) else {}


def method_key(document: Table, method: object) -> str:
    """Return the key that a method's table has, or would have, in `[methods]`.

    Args:
        document: the recipe, which may spell the method with hyphens.
        method: the method's name, in any spelling.
    """
    name = canonical("methods", str(method))
    keys = table_at(document, "methods")
    return next((key for key in keys if canonical("methods", key) == name), name)


def without(table: Table, *keys: str) -> Table:
    """Return a table without some of its keys."""
    return {key: value for key, value in table.items() if key not in keys}
