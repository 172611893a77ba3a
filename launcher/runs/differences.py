"""What sets runs apart: their settings, their figures, their looks."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

ABSENT = "-"
PLACES = ("runtime.seed", "runtime.runs_dir", "runtime.cache_dir")
"""Settings in which runs that are otherwise equal may differ."""


def flatten(table: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return the settings of a recipe: dotted key -> value as in the file."""
    flat: dict[str, str] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = _text(value)
    return flat


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, default=str, ensure_ascii=False)


def differing(settings: Sequence[Mapping[str, str]]) -> dict[str, list[str]]:
    """Return the settings that are not the same everywhere.

    Args:
        settings: of each run, flat.

    Returns:
        Dotted key -> its value in each run, a dash where it is absent.
    """
    keys = dict.fromkeys(key for each in settings for key in each)
    values = {key: [each.get(key, ABSENT) for each in settings] for key in keys}
    return {key: found for key, found in values.items() if len(set(found)) > 1}


def seed_groups(settings: Sequence[Mapping[str, str]]) -> list[list[int]]:
    """Return the positions of runs that differ in their seed and places alone.

    Groups of one, and runs without settings, are left out.
    """
    groups: dict[Hashable, list[int]] = {}
    for position, each in enumerate(settings):
        if each:
            key = frozenset(item for item in each.items() if item[0] not in PLACES)
            groups.setdefault(key, []).append(position)
    return [group for group in groups.values() if len(group) > 1]


def points(share: float | None, baseline: float | None) -> str:
    """Return a difference of shares in points, with its sign."""
    if share is None or baseline is None:
        return ABSENT
    return f"{100 * (share - baseline):+.2f}"


def assign_looks(keys: Iterable[str], looks: dict[str, int], count: int) -> None:
    """Give each key a look that it keeps, and that no other of these has.

    Args:
        keys: of what is shown together.
        looks: key -> number of its look; those that are new are added, and of two
            with the same look the later gets another.
        count: of different looks; beyond, they are used again.
    """
    taken: set[int] = set()
    for key in sorted(keys, key=lambda key: key not in looks):
        free = [look for look in range(count) if look not in taken]
        if free and looks.get(key) not in free:
            unused = [look for look in free if look not in looks.values()]
            looks[key] = (unused or free)[0]
        taken.add(looks.setdefault(key, len(looks) % count))
