"""Check the options of methods and networks against the source that defines them."""

from __future__ import annotations

import functools
import re
from collections.abc import Container, Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import PydanticCustomError

from kmtard import registry
from kmtard.recipe.errors import (
    MISSING,
    Mistake,
    key_text,
    mistakes_of,
    unknown_key,
)
from kmtard.registry.ranges import Ascending, words
from kmtard.registry.signatures import Option

DECIMAL = r"\s*([+-]?[0-9]+(?:\.[0-9]+)?)\s*"
QUOTIENT = re.compile(f"{DECIMAL}/{DECIMAL}")


def _number(value: object) -> object:
    if not isinstance(value, str):
        return value
    match = QUOTIENT.fullmatch(value)
    if match is None or float(match[2]) == 0:
        raise PydanticCustomError(
            "fraction", 'expected a number, or a fraction such as "8/255"'
        )
    return float(match[1]) / float(match[2])


FRACTION = BeforeValidator(_number)
"""Marks a number that may also be a fraction in quotes, such as "8/255"."""

Number = Annotated[float, Field(strict=True, allow_inf_nan=False), FRACTION]

LEAVES: dict[Any, Any] = {
    float: Number,
    int: StrictInt,
    bool: StrictBool,
    str: StrictStr,
}


def read_options(
    path: tuple[str, ...],
    table: str,
    name: object,
    given: Mapping[str, Any],
    mistakes: list[Mistake],
) -> dict[str, Any]:
    """Convert the options of a method or a network to Python values.

    Args:
        path: keys that lead to the table with the options.
        table: `methods` or `networks`.
        name: a name of that table, or `package.module:Object`. If it is unknown, no
            options are read; the schema reports the name.
        given: the options as read from TOML.
        mistakes: unknown options and values of a wrong type are appended.

    Returns:
        The converted options, without those that have a mistake.
    """
    known = _known_options(table, name)
    if known is None:
        return {}
    values = {}
    for key, value in given.items():
        where = (*path, key)
        if key not in known:
            mistakes.append(unknown_key(where, value, known))
            continue
        option = known[key]
        try:
            values[key] = _adapter(option.hint).validate_python(value)
        except ValidationError as error:
            found = mistakes_of(error, where)
            # A union or a tuple gives one error for each member. One message with the
            # whole type is clearer.
            if len(found) > 1 or found[0].message == MISSING:
                message = f"expected {words(option.hint)}"
                found = [Mistake(key_text(where), message, value)]
            mistakes += found
    return values


def missing_options(
    path: tuple[str, ...], table: str, name: object, given: Container[str]
) -> list[Mistake]:
    """Return one mistake for each option that has no default and is not given."""
    known = _known_options(table, name) or {}
    return [
        Mistake(key_text((*path, key)), MISSING)
        for key, option in known.items()
        if option.required and key not in given
    ]


def defaults(table: str, name: str) -> dict[str, Any]:
    """Return the default values, without those that are None or an expression."""
    return {
        option.name: option.default
        for option in registry.options(table, name).values()
        if option.literal and option.default is not None
    }


def _known_options(table: str, name: object) -> dict[str, Option] | None:
    try:
        return registry.options(table, str(name))
    except registry.RegistryError:
        return None


@functools.cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    """Return an adapter that converts TOML values to a type from the registry.

    A type other than a number, a text, a boolean or a tuple of them allows any value.
    """
    return TypeAdapter(of_recipe(hint))


def of_recipe(hint: Any) -> Any:
    """Return a type of `ranges` as pydantic reads it from TOML.

    Numbers may be fractions in quotes, and nothing else is converted.
    """
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return Annotated[(of_recipe(parts[0]), *map(_mark, parts[1:]))]
    if origin in (Union, UnionType):
        return Union[tuple(map(of_recipe, parts))]  # noqa: UP007
    if origin is tuple:
        return tuple[tuple(map(of_recipe, parts))]  # type: ignore[misc]
    return LEAVES.get(hint, hint)


def _mark(mark: Any) -> Any:
    return AfterValidator(_ascending) if isinstance(mark, Ascending) else mark


def _ascending(values: tuple[float, ...]) -> tuple[float, ...]:
    if list(values) != sorted(values):
        raise PydanticCustomError("ascending", "expected values in ascending order")
    return values
