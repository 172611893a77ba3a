"""Checks of constructor arguments that have a table of names."""

from __future__ import annotations

from collections.abc import Iterable


def one_of(name: str, value: str, known: Iterable[str]) -> str:
    """Return a value after checking that it is one of the known names.

    Raises:
        ValueError: `value` is not one of them.
    """
    names = sorted(known)
    if value in names:
        return value
    raise ValueError(f"`{name}` must be one of {names}. Received: {value!r}.")
