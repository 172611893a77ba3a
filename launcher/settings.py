"""What the launcher remembers from one start to the next."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from kmtard.runs import RunError, write_atomic
from kmtard.runs.files import read_regular
from kmtard.runs.places import config_dir, state_dir

__all__ = ["Settings", "config_dir", "state_path"]

Value = TypeVar("Value", bool, int, float, str, list[str])


def state_path() -> Path:
    """Return the file with the settings."""
    return state_dir() / "launch.json"


class Settings:
    """Named values in a JSON file; a missing or damaged file has none.

    Args:
        path: the file; its folder is created with the first value.

    Attributes:
        error: why the last `set` could not be written; None if it was.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.error: str | None = None
        self._values = _read(path)

    def get(self, name: str, default: Value) -> Value:
        """Return a value, or the default if there is none of the same type."""
        value = self._values.get(name, default)
        return value if type(value) is type(default) else default

    def set(self, name: str, value: bool | int | float | str | list[str]) -> None:
        """Remember a value; if it cannot be written, for this process only."""
        # Another launcher may have written the file since.
        self._values = {**self._values, **_read(self.path), name: value}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(self.path, json.dumps(self._values, indent=2) + "\n")
            self.error = None
        except OSError as error:
            self.error = f"Cannot make {self.path.parent}: {error.strerror}."
        except RunError as error:
            self.error = str(error)


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(read_regular(path))
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}
