"""Read files of a run that may be missing, damaged or from another program."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Any

from kmtard.runs.files import read_regular

MANY = 10**9
"""Numbers of epochs, steps or seconds from this value on are treated as damaged."""


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file; empty if it is missing or damaged."""
    try:
        return tomllib.loads(read_regular(path).decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return {}


def table(document: Any, *keys: str) -> dict[str, Any]:
    """Return the table at a path of keys; empty if the path does not exist."""
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    return document if isinstance(document, dict) else {}


def number(value: Any) -> float | None:
    """Return the value if it is a finite number, else None."""
    # Fast for what most values are: a folder of runs has hundreds of thousands.
    if type(value) is float:
        return value if math.isfinite(value) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def positive(value: Any) -> float | None:
    """Return the value if it is a number above 0 and below `MANY`, else None."""
    found = number(value)
    return found if found is not None and 0 < found < MANY else None


def whole(value: Any) -> int | None:
    """Return the value if it is a plausible number of epochs or steps, else None."""
    valid = isinstance(value, int) and not isinstance(value, bool)
    return value if valid and 0 <= value < MANY else None
