"""Check the options of methods and networks against the source that defines them."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Container, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
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
from kmtard.registry.signatures import Option

DECIMAL = r"\s*([+-]?[0-9]+(?:\.[0-9]+)?)\s*"
FRACTION = re.compile(f"{DECIMAL}/{DECIMAL}")


def _number(value: object) -> object:
    if not isinstance(value, str):
        return value
    match = FRACTION.fullmatch(value)
    if match is None or float(match[2]) == 0:
        raise PydanticCustomError(
            "fraction", 'expected a number, or a fraction such as "8/255"'
        )
    return float(match[1]) / float(match[2])


Number = Annotated[
    float, Field(strict=True, allow_inf_nan=False), BeforeValidator(_number)
]
"""A finite number, also written as a whole number or a fraction such as "8/255"."""

LEAVES = {"float": Number, "int": StrictInt, "bool": StrictBool, "str": StrictStr}


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
        annotation = known[key].annotation
        try:
            values[key] = _adapter(annotation).validate_python(value)
        except ValidationError as error:
            found = mistakes_of(error, where)
            # A union or a tuple gives one error for each member. One message with the
            # whole type is clearer.
            if len(found) > 1 or found[0].message == MISSING:
                found = [Mistake(key_text(where), f"expected {annotation}", value)]
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
def _adapter(annotation: str) -> TypeAdapter[Any]:
    """Return a converter from TOML values to a type such as `tuple[float, float]`.

    It checks float, int, bool, str, None, literals and tuples of them. A value of any
    other type is accepted unchecked.
    """
    expression = ast.parse(annotation or "Any", mode="eval").body
    return TypeAdapter(_type(expression))


def _type(node: ast.expr) -> Any:
    match node:
        case ast.Name(id=name):
            return LEAVES.get(name, Any)
        case ast.Constant(value=None):
            return None
        case ast.Constant(value=value) if value is ...:
            return ...
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _type(left) | _type(right)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=values):
            return Literal[ast.literal_eval(values)]
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=members)):
            return tuple[tuple(map(_type, members))]  # type: ignore[misc]
    return Any
