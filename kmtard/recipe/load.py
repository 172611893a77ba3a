"""Turn a TOML file into a resolved recipe: read, override, validate and resolve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path

from kmtard.recipe.code import named_code, untrusted
from kmtard.recipe.document import read
from kmtard.recipe.errors import Mistake, RecipeError
from kmtard.recipe.overrides import Override, apply, parse, shrink
from kmtard.recipe.schema import Recipe
from kmtard.recipe.validation import validate

MOST_MISTAKES = 100


def load(
    path: str | PathLike[str],
    *,
    method: str | None = None,
    overrides: Sequence[str] = (),
    smoke: bool = False,
    foreign: str | None = None,
) -> Recipe:
    """Read a recipe, override, check and resolve it.

    In the result, `[attack]`, `[optimizer]`, `[schedule]` and `[method]` are those of
    the student. The method table of each teacher holds all its settings, defaults are
    filled in, and `methods` is empty. Written with `to_toml` and read again, it gives
    the same recipe.

    Args:
        path: the TOML file.
        method: trains the student instead of the file's method and its options.
        overrides: each `table.key=value`, where the value is TOML or plain text. They
            take precedence over everything else.
        smoke: shrink data and schedule to about a minute of work.
        foreign: why the file is not the user's own, as returned by `foreign_reason`.
            If given, a recipe that names code is refused.

    Raises:
        RecipeError: lists all mistakes in the file and in the overrides.

    Example:
        >>> path = "recipes/digits.toml"
        >>> load(path, method="trades", overrides=["attack.steps=7"]).attack.steps
        7
    """
    document = read(Path(path))
    names = [name for _, name in named_code(document)]
    if method is not None:
        document["method"] = {"name": method}
    if smoke:
        shrink(document)
    changes, mistakes = parse(overrides, document)
    mistakes += apply(document, changes)
    recipe, found = validate(document)
    if foreign is not None:
        found += untrusted(document, names, foreign)
    mistakes += [_placed(each, str(path), changes, method) for each in found]
    if recipe is None or mistakes:
        raise RecipeError(path, _first(mistakes, str(path)))
    return recipe


def _first(mistakes: list[Mistake], path: str) -> list[Mistake]:
    """Return only the first mistakes, since a file may have 10,000 unknown keys."""
    more = len(mistakes) - MOST_MISTAKES
    if more <= 0:
        return mistakes
    rest = Mistake("", f"and {more:,} more mistakes", place=path)
    return [*mistakes[:MOST_MISTAKES], rest]


def _placed(
    mistake: Mistake, path: str, changes: Sequence[Override], method: str | None
) -> Mistake:
    """Add the file or the command-line option that a mistake comes from."""
    place = path
    if any(_nested(mistake.key, change.key) for change in changes):
        place = "--set"
    elif method is not None and mistake.key == "method.name":
        place = "--method"
    return replace(mistake, place=place)


def _nested(key: str, other: str) -> bool:
    """Return whether the keys are equal or one is inside the other."""
    short, long = sorted((key, other), key=len)
    return long == short or long.startswith((f"{short}.", f"{short}["))
