"""Checks of constructor arguments that have a table of names."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any


def one_of(name: str, value: str, known: Iterable[str]) -> str:
    """Return a value after checking that it is one of the known names.

    Raises:
        ValueError: `value` is not one of them.
    """
    names = sorted(known)
    if value in names:
        return value
    raise ValueError(f"`{name}` must be one of {names}. Received: {value!r}.")


def one_of_or_function(
    name: str, value: str | Callable[..., Any], known: Iterable[str]
) -> str | Callable[..., Any]:
    """Return a value that is one of the known names, or a function.

    Raises:
        ValueError: it is neither.
    """
    if callable(value):
        return value
    names = sorted(known)
    if value in names:
        return value
    raise ValueError(
        f"`{name}` must be one of {names}, or a function. Received: {value!r}."
    )
