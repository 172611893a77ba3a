"""Files of a run that may be missing, damaged or another's: read as far as can be."""

from __future__ import annotations

import contextlib
import json
import math
import os
import tomllib
from pathlib import Path
from typing import Any

from launcher.runs.log_file import plain

LOG_END = 8192  # bytes


def read_toml(path: Path) -> dict[str, Any]:
    """Return a TOML file; empty if it is missing or damaged."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return {}


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object; empty if there is none."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def last_lines(path: Path, count: int) -> list[str]:
    """Return the end of a log, safe to show; empty if there is none."""
    lines: list[str] = []
    with contextlib.suppress(OSError):
        # A pipe would block whoever opens it.
        if path.is_file():
            with path.open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - LOG_END))
                lines = [plain(line) for line in file.read(LOG_END).split(b"\n")]
    return [line for line in lines if line.strip()][-count:]


def table(document: Any, *keys: str) -> dict[str, Any]:
    """Return the table under the keys; empty if there is none."""
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    return document if isinstance(document, dict) else {}


def number(value: Any) -> float | None:
    """Return a finite number, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def percent(share: float | None) -> str:
    """Return a share in [0, 1] as points, two decimals; a dash without one."""
    return "-" if share is None else f"{100 * share:.2f}"
