"""Checks of constructor arguments: each returns the value or raises a ValueError."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Real


def real(name: str, value: float, interval: str = "[0, inf)") -> float:
    """Return a number after checking that it is in an interval.

    Args:
        name: name of the argument.
        value: the received value.
        interval: two ends in brackets, such as "[0, 1)"; a round bracket excludes its
            end.

    Raises:
        ValueError: `value` is not a number in the interval.
    """
    low, high = (float(end) for end in interval[1:-1].split(","))
    if isinstance(value, Real):
        above = value > low if interval[0] == "(" else value >= low
        below = value < high if interval[-1] == ")" else value <= high
        if above and below:
            return value
    raise ValueError(f"`{name}` must be a number in {interval}. Received: {value!r}.")


def whole(name: str, value: int, least: int) -> int:
    """Return a whole number as an `int` after checking that it is large enough.

    Args:
        name: name of the argument.
        value: the received value; a float such as 2.0 is accepted.
        least: smallest allowed value.

    Raises:
        ValueError: `value` is not a whole number >= `least`.
    """
    if isinstance(value, Real) and value % 1 == 0 and value >= least:
        return int(value)
    raise ValueError(
        f"`{name}` must be a whole number >= {least}. Received: {value!r}."
    )


def one_of(name: str, value: str, known: Iterable[str]) -> str:
    """Return a value after checking that it is one of the known names.

    Raises:
        ValueError: `value` is not one of them.
    """
    names = sorted(known)
    if value in names:
        return value
    raise ValueError(f"`{name}` must be one of {names}. Received: {value!r}.")
