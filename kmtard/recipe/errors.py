"""The mistakes in a recipe, each with its place; all of them are reported at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from typing import Any, get_args

import tomlkit
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from kmtard.registry import nearest

# Largest numbers of characters that an error shows, even for a huge file.
LONGEST_VALUE = 60
LONGEST_KEY = 200
LONGEST_MESSAGE = 2000
MISSING = "required key is missing"

EXPECTATIONS = {
    "missing": MISSING,
    "extra_forbidden": "unknown key",
    "literal_error": "unknown value",
    "bool_type": "expected true or false",
    "int_type": "expected a whole number",
    "float_type": "expected a number",
    "finite_number": "expected a finite number",
    "string_type": "expected a text in quotes",
    "tuple_type": "expected a list",
    "dict_type": "expected a table",
    "model_type": "expected a table",
}
RANGES = {
    "greater_than": "> {gt}",
    "greater_than_equal": ">= {ge}",
    "less_than": "< {lt}",
    "less_than_equal": "<= {le}",
}


@dataclass(frozen=True)
class Mistake:
    """One mistake in a recipe.

    Attributes:
        key: the dotted key, such as `optimizer.learning_rate`; empty for the whole
            file.
        message: what is wrong, or what was expected.
        value: the received value; None if no value was received.
        allowed: the allowed names, or a range such as `> 0`; may be empty.
        nearest: the known key or value most similar to the received one; None if no
            known one is similar.
        place: the file, or `--set` or `--method` on the command line.
    """

    key: str
    message: str
    value: Any = None
    allowed: tuple[str, ...] = ()
    nearest: str | None = None
    place: str = ""

    def __str__(self) -> str:
        """Return one line: place, key, value, what is wrong, what to do."""
        value = "" if self.value is None else f" = {_shown(self.value)}"
        subject = f"{_cut(self.key, LONGEST_KEY)}{value}: " if self.key else ""
        if self.nearest:
            hint = f"; did you mean {self.nearest}?"
        else:
            hint = f"; allowed: {', '.join(self.allowed)}" if self.allowed else ""
        return f"{self.place}: {subject}{_cut(self.message, LONGEST_MESSAGE)}{hint}"


class RecipeError(ValueError):
    """A recipe that cannot be used; the text has one line per mistake.

    Attributes:
        path: the recipe's file.
        mistakes: all mistakes, in the order in which they were found.
    """

    def __init__(self, path: str | PathLike[str], mistakes: Iterable[Mistake]) -> None:
        self.path = fspath(path)
        self.mistakes = list(mistakes)
        super().__init__("\n".join(map(str, self.mistakes)))


def key_text(parts: Sequence[str | int]) -> str:
    """Write a path of keys as in TOML; a position in a list is shown as `[1]`."""
    text = ""
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += "." * bool(text) + tomlkit.key(part).as_string()
    return text


def unknown_key(path: Sequence[str | int], value: Any, known: Iterable[str]) -> Mistake:
    """Return the mistake for a key that is not among the `known` keys."""
    known = tuple(known)
    return Mistake(
        key_text(path), "unknown key", value, known, nearest(str(path[-1]), known)
    )


def mistakes_of(
    error: ValidationError,
    path: Sequence[str | int] = (),
    model: type[BaseModel] | None = None,
) -> list[Mistake]:
    """Turn an error from pydantic into mistakes, one for each thing it reports.

    Args:
        error: the exception that pydantic raised.
        path: the keys that lead to the validated table or value.
        model: the validated model; its keys are suggested in place of an unknown key.
    """
    details = error.errors(include_url=False)
    return [_mistake(detail, path, model) for detail in details]


def _mistake(
    detail: ErrorDetails, path: Sequence[str | int], model: type[BaseModel] | None
) -> Mistake:
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    where = [*path, *(part for part in detail["loc"] if part != "[key]")]
    if kind == "extra_forbidden" and model is not None:
        return unknown_key(where, value, _keys(model, detail["loc"][:-1]))
    if kind == "missing":
        value = None
    if kind in RANGES:
        allowed = (RANGES[kind].format(**context),)
        return Mistake(key_text(where), "out of range", value, allowed)
    if kind == "literal_error":
        context = {"allowed": _literals(context["expected"])}
        context["nearest"] = nearest(str(value), context["allowed"])
    return Mistake(
        key_text(where),
        EXPECTATIONS.get(kind, detail["msg"]),
        None if "[key]" in detail["loc"] else value,
        context.get("allowed", ()),
        context.get("nearest"),
    )


def _keys(model: type[BaseModel], path: Iterable[str | int]) -> list[str]:
    for part in path:
        annotation = model.model_fields[str(part)].annotation
        model = next(
            candidate
            for candidate in (annotation, *get_args(annotation))
            if isinstance(candidate, type) and issubclass(candidate, BaseModel)
        )
    return list(model.model_fields)


def _literals(expected: str) -> tuple[str, ...]:
    """Split pydantic's `'a', True or 2` into values as written in TOML."""
    values = re.split(r", | or ", expected.replace("'", ""))
    return tuple({"True": "true", "False": "false"}.get(v, v) for v in values)


def _shown(value: Any) -> str:
    array = tomlkit.array()
    array.append(value)  # inside an array a table is written on one line
    text = array.as_string()[1:-1]
    return _cut(text, LONGEST_VALUE)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}..."
