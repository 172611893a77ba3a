"""The ranges of options, as types that declare the allowed values.

All bounds are in this module. A constructor annotates its arguments with these types,
and `checked` enforces them. Recipes, the launcher's form and the documentation read the
same annotations from the source. An annotation such as
`Annotated[float, Interval(gt=0)]` works like a name of this module.

The upper bounds are far above any useful value. They refuse obvious mistakes, such as
`1e308`, before training starts.
"""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from math import inf, isfinite
from numbers import Real
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from annotated_types import Interval

LONGEST = 200
"""Largest number of characters of a received value in an error."""

Function = TypeVar("Function", bound=Callable[..., Any])


class Ascending:
    """Marks a sequence of values that never decreases."""


ASCENDING = Ascending()

# Numbers. Images are in [0, 1]. An epsilon of 8 would be meant for [0, 255].
Epsilon = Annotated[float, Interval(ge=0, le=1)]
StepSize = Annotated[float, Interval(gt=0, le=1)]
Radius = Annotated[float, Interval(ge=0, lt=inf)]
AnyRadius = Annotated[float, Interval(ge=0, le=inf)]
Share = Annotated[float, Interval(ge=0, le=1)]
PositiveShare = Annotated[float, Interval(gt=0, le=1)]
PartialShare = Annotated[float, Interval(ge=0, lt=1)]
InnerShare = Annotated[float, Interval(gt=0, lt=1)]
Percentage = Annotated[float, Interval(gt=0, le=100)]
Weight = Annotated[float, Interval(ge=0, le=1_000)]
Positive = Annotated[float, Interval(gt=0, le=1_000)]
AtLeastOne = Annotated[float, Interval(ge=1, le=1_000)]
Bounds = Annotated[tuple[Positive, Positive], ASCENDING]
Constant = Annotated[float, Interval(ge=-1_000, le=1_000)]

# Whole numbers.
BatchSize = Annotated[int, Interval(ge=1, le=65_536)]
Begin = Annotated[int, Interval(ge=0, le=100_000)]
Cores = Annotated[int, Interval(ge=1, le=4_096)]
Devices = Literal["all"] | Annotated[int, Interval(ge=1, le=65_536)]
Epochs = Annotated[int, Interval(ge=1, le=100_000)]
Gpus = Annotated[int, Interval(ge=0, le=1_024)]
Images = Annotated[int, Interval(ge=1, le=1_000_000_000)]
Levels = Annotated[int, Interval(ge=0, le=65_536)]
Padding = Annotated[int, Interval(ge=0, le=1_024)]
Processes = Annotated[int, Interval(ge=1, le=65_536)]
Queries = Annotated[int, Interval(ge=1, le=10_000_000)]
Repeats = Annotated[int, Interval(ge=1, le=1_000)]
Seconds = Annotated[int, Interval(ge=1, le=86_400)]
Seed = Annotated[int, Interval(ge=0, lt=2**32)]
Steps = Annotated[int, Interval(ge=0, le=10_000)]
Side = Annotated[int, Interval(ge=1, le=65_536)]
SomeSteps = Annotated[int, Interval(ge=1, le=10_000)]
TrainingSteps = Annotated[int, Interval(ge=0, le=100_000_000)]
SomeTargets = Annotated[int, Interval(ge=1, le=100_000)]
Targets = Annotated[int, Interval(ge=0, le=100_000)]
Width = Annotated[int, Interval(ge=1, le=4_096)]

# Values that a network subtracts from the channels of its images, and divides them by.
Standard = Literal["cifar10", "cifar100", "tiny_imagenet", "2x-1"]
Mean = Standard | tuple[Constant, ...] | None
Std = Standard | tuple[Positive, ...] | None


def checked(function: Function) -> Function:
    """Make a function or constructor check its arguments against its annotations.

    Annotations without a range, such as that of a network, are ignored.

    Args:
        function: the function or constructor.

    Returns:
        The function. Each call raises a ValueError if an argument is out of range.

    Example:
        >>> @checked
        ... def half(share: Share) -> float:
        ...     return share / 2
        >>> half(2)
        Traceback (most recent call last):
        ValueError: `share` must be a number >= 0, <= 1. Received: 2.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError:
            given = {}  # the call below raises Python's own error, which is clearer
        for name, hint in _hints(function).items():
            if name in given:
                check(name, given[name], hint)
        return function(*args, **kwargs)

    # Keras reads the names of the arguments from the signature.
    wrapper.__signature__ = signature  # type: ignore[attr-defined]
    return wrapper  # type: ignore[return-value]


def check(name: str, value: object, hint: Any) -> None:
    """Refuse a value that a type does not allow.

    Args:
        name: name of the argument.
        value: the received value.
        hint: a type of this module, or one built from the same parts.

    Raises:
        ValueError: the value is not allowed; the error says which values are.

    Example:
        >>> check("steps", 0, SomeSteps)
        Traceback (most recent call last):
        ValueError: `steps` must be a whole number >= 1, <= 10000. Received: 0.
    """
    if not fits(value, hint):
        shown = repr(value)
        if len(shown) > LONGEST:
            shown = f"{shown[:LONGEST]}..."
        raise ValueError(f"`{name}` must be {words(hint)}. Received: {shown}.")


def fits(value: Any, hint: Any) -> bool:
    """Return whether a type allows a value. An unknown type allows every value.

    Whole numbers count as numbers. True, False and NaN never count as numbers.

    Example:
        >>> fits(0.5, Share), fits(2, Share), fits(True, Share)
        (True, False, False)
    """
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        inner, *marks = parts
        return fits(value, inner) and all(_holds(value, mark) for mark in marks)
    if origin in (Union, UnionType):
        return any(fits(value, part) for part in parts)
    if origin is Literal:
        return any(_equals(value, part) for part in parts)
    if origin is tuple:
        return _fits_tuple(value, parts)
    if hint is None or hint is NoneType:
        return value is None
    if hint in (bool, str):
        return isinstance(value, hint)
    if hint in (int, float):
        number = isinstance(value, Real) and not isinstance(value, bool)
        whole = number and (hint is float or value % 1 == 0)
        return whole and value == value
    return True


def _equals(value: Any, part: Any) -> bool:
    alike = isinstance(value, type(part)) and value == part
    return alike and isinstance(value, bool) == isinstance(part, bool)


def _fits_tuple(value: Any, parts: tuple[Any, ...]) -> bool:
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        return False
    if parts[-1:] == (...,):
        parts = parts[:1] * len(value)
    return len(value) == len(parts) and all(map(fits, value, parts))


def _holds(value: Any, mark: Any) -> bool:
    if isinstance(mark, Ascending):
        return list(value) == sorted(value)
    if isinstance(mark, Interval):
        return (
            (mark.gt is None or value > mark.gt)
            and (mark.ge is None or value >= mark.ge)
            and (mark.lt is None or value < mark.lt)
            and (mark.le is None or value <= mark.le)
        )
    return True


def words(hint: Any) -> str:
    """Return a text about the values that a type allows.

    Example:
        >>> words(Positive)
        'a number > 0, <= 1000'
    """
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        inner, *marks = parts
        said = [words(inner), ", ".join(limits(marks))]
        said += ["in ascending order"] * any(isinstance(m, Ascending) for m in marks)
        return " ".join(filter(None, said))
    if origin in (Union, UnionType):
        return " or ".join(map(words, parts))
    if origin is Literal:
        return " or ".join(map(json.dumps, parts))
    if origin is tuple:
        if parts[-1:] == (...,):
            return f"a list, each {words(parts[0])}"
        return f"a list of {len(parts)}, each {words(parts[0])}"
    if hint is None or hint is NoneType:
        return "None"
    return NAMES.get(hint, getattr(hint, "__name__", str(hint)))


NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
SIGNS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}


def limits(marks: Sequence[Any]) -> list[str]:
    """Return the bounds among the marks of a type.

    Example:
        >>> limits([Interval(gt=0, le=1_000)])
        ['> 0', '<= 1000']
    """
    return [
        f"{sign} {bound}" if isfinite(bound) else "finite"
        for mark in marks
        for name, sign in SIGNS.items()
        if (bound := getattr(mark, name, None)) is not None
        and (name, bound) != ("le", inf)
    ]


@functools.cache
def _hints(function: Callable[..., Any]) -> Mapping[str, Any]:
    hints = get_type_hints(function, include_extras=True)
    return {name: hint for name, hint in hints.items() if _is_bounded(hint)}


def _is_bounded(hint: Any) -> bool:
    """Return whether a type restricts its values in a way that `fits` can check."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return any(isinstance(mark, Interval | Ascending) for mark in parts[1:])
    if origin in (Union, UnionType, tuple):
        return any(map(_is_bounded, parts))
    return origin is Literal or hint is bool
