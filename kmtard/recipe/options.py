"""The options of methods and networks, checked against the source that defines them."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
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
"""A finite number; a whole number or a fraction such as "8/255" will do."""

LEAVES = {"float": Number, "int": StrictInt, "bool": StrictBool, "str": StrictStr}


def convert(annotation: str, value: Any) -> Any:
    """Turn a TOML value into what a parameter of that annotation takes.

    Args:
        annotation: Python source such as `float` or `tuple[float, float]`; whatever
            it names beside float, int, bool, str, None and tuples of them may have
            any value.
        value: what the recipe has.

    Raises:
        ValidationError: the value is of another type.
    """
    expression = ast.parse(annotation or "Any", mode="eval").body
    return TypeAdapter(_type(expression)).validate_python(value)


def complete(table: str, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return `given` as Python values, with the defaults of the options left out.

    Args:
        table: `methods` or `networks`.
        name: a name of that table, or `package.module:Object`.
        given: options without a mistake.
    """
    known = registry.options(table, name)
    defaults = {
        option.name: option.default
        for option in known.values()
        if option.literal and option.default is not None
    }
    return defaults | {
        key: convert(known[key].annotation, value) for key, value in given.items()
    }


def option_mistakes(
    path: tuple[str, ...], table: str, name: str, given: Mapping[str, Any]
) -> list[Mistake]:
    """Find the unknown options and those of a wrong type.

    Args:
        path: keys that lead to the table with the options.
        table: `methods` or `networks`.
        name: a name of that table, or `package.module:Object`.
        given: the options as read from TOML.
    """
    known = registry.options(table, name)
    mistakes = []
    for key, value in given.items():
        where = (*path, key)
        if key not in known:
            mistakes.append(unknown_key(where, value, known))
            continue
        annotation = known[key].annotation
        try:
            convert(annotation, value)
        except ValidationError as error:
            found = mistakes_of(error, where)
            # A union or a tuple has one for each member: the whole says it better.
            if len(found) > 1 or found[0].message == MISSING:
                found = [Mistake(key_text(where), f"expected {annotation}", value)]
            mistakes += found
    return mistakes


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
