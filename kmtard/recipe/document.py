"""Read a recipe's TOML into tables whose values have not been checked yet."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from kmtard.recipe.errors import Mistake, RecipeError
from kmtard.registry import canonical, nearest
from kmtard.registry.bounded import read_bounded

Table = dict[str, Any]

LARGEST = 2**17
"""Largest allowed recipe in bytes; the shipped recipes have about 6,000."""
DEEPEST = 32
"""Deepest allowed nesting of tables and lists; the shipped recipes have 3 levels."""

MOST = 2 * DEEPEST  # parts of one dotted key that are passed to the TOML reader
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
# A dotted key such as a."b".c, or a single word. The number of parts must be checked
# before TOML is read: the reader's memory grows with its square.
PART = r"""(?:[^\s.,="'#\[\]{}]++|"(?:[^"\\\n]++|\\.)*+"|'[^'\n]*+')"""
PARTS = re.compile(PART)
CHAIN = re.compile(rf"{PART}(?:[ \t]*+\.[ \t]*+{PART})*+")
TOO_DEEP = f"tables and lists are nested more than {DEEPEST} levels deep"


def read(path: Path) -> Table:
    """Read a TOML file.

    Raises:
        RecipeError: the file cannot be read, or is not TOML.
    """
    text = read_text(path)
    try:
        return parse(text)
    except ValueError as error:
        lines = text.splitlines() or [""]
        end = f"at line {len(lines)}, column {len(lines[-1]) + 1}"
        message = f"expected TOML: {error}".replace("at end of document", end)
        raise _unusable(path, message) from error


def read_text(path: Path) -> str:
    """Return the text of a recipe.

    Raises:
        RecipeError: the file is missing, is not a regular file, is too large, or is
            not UTF-8.
    """
    try:
        content = read_bounded(path, LARGEST)
    except FileNotFoundError as error:
        message = f"expected a readable TOML file: {error.strerror}"
        near = nearest(
            path.name, [file.name for file in path.parent.glob("[!.]*.toml")]
        )
        raise _unusable(path, message, near) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise _unusable(path, f"expected a readable TOML file: {reason}") from error
    try:
        if content.startswith(UTF_16) or b"\0" in content:
            raise UnicodeError("UTF-16")
        return content.decode("utf-8-sig")
    except UnicodeError as error:
        received = "UTF-16" if str(error) == "UTF-16" else f"other bytes ({error})"
        encoding = "UTF-16" if received == "UTF-16" else "LATIN1"
        message = (
            f"expected text in UTF-8, received {received}; save the file as UTF-8 in "
            f"your editor, or with `iconv -f {encoding} -t UTF-8 OLD > NEW`"
        )
        raise _unusable(path, message) from error


def parse(text: str) -> Table:
    """Read TOML of limited nesting, so that no later code runs out of stack.

    Raises:
        ValueError: the text is not TOML, or is nested deeper than `DEEPEST`.
    """
    # This also counts chains in strings and comments, but none is that long there.
    chains = (match[0] for match in CHAIN.finditer(text) if match[0].count(".") >= MOST)
    if any(len(PARTS.findall(chain)) > MOST for chain in chains):
        raise ValueError(TOO_DEEP)
    try:
        document = tomllib.loads(text)
    except RecursionError as error:
        raise ValueError(TOO_DEEP) from error
    level: list[Any] = [document]
    for _ in range(DEEPEST):
        level = [each for parent in level for each in _children(parent)]
    if level:
        raise ValueError(TOO_DEEP)
    return document


def _children(parent: Any) -> list[Any]:
    values = parent.values() if isinstance(parent, dict) else parent
    return [each for each in values if isinstance(each, dict | list)]


def _unusable(path: Path, message: str, near: str | None = None) -> RecipeError:
    mistake = Mistake("", message, nearest=near, place=str(path))
    return RecipeError(path, [mistake])


def table_at(document: Table, *path: str) -> Table:
    """Return the table at a path of keys; an empty table if the path does not exist."""
    value: Any = document
    for key in path:
        value = value.get(key, {}) if isinstance(value, dict) else {}
    return value if isinstance(value, dict) else {}


def method_key(document: Table, method: object) -> str:
    """Return the key that a method's table in `[methods]` has or would have.

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
