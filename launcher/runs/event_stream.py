"""The events of a long file, read in pieces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from kmtard.runs import EventReader

STEP = b'{"event": "step"'


class EventStream(EventReader):
    """Gives events on while it reads, and keeps none.

    Args:
        path: the file.
        take: called with the events of each piece of it.
    """

    def __init__(
        self, path: Path, take: Callable[[Sequence[Mapping[str, Any]]], None]
    ) -> None:
        super().__init__(path)
        self.take = take

    @property
    def done(self) -> int:
        """Bytes read."""
        return self._offset

    def parse(self, lines: list[bytes]) -> list[dict[str, Any]]:
        """Hand on what is new, and return nothing."""
        self.take(super().parse(_without_stale_steps(lines)))
        return []


def _without_stale_steps(lines: list[bytes]) -> list[bytes]:
    """Leave out each step that another step follows: nearly all of a long file."""
    stale = (
        line.startswith(STEP) and after.startswith(STEP)
        for line, after in pairwise([*lines, b""])
    )
    return [line for line, is_stale in zip(lines, stale, strict=True) if not is_stale]
