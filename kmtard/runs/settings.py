"""Settings of runs, from their resolved recipes: what differs, what is alike."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

from kmtard.registry import label
from kmtard.runs.documents import read_toml
from kmtard.runs.folder import Run
from kmtard.runs.formats import ABSENT

PLACES = ("runtime.seed", "runtime.runs_dir", "runtime.cache_dir")
"""Settings in which runs that are otherwise equal may differ."""

ABOUT = ("data.name", "method.name", "student.network", "runtime.seed")
"""Settings that say in brief what a run is."""

MOST = 3  # settings in the name of a row
LONGEST = 24  # characters of a setting's value there


def read_settings(run: Run) -> dict[str, str]:
    """Return the settings of a run, flat; empty if its recipe cannot be read."""
    settings = flatten(read_toml(run.recipe_path))
    if method := settings.get("method.name"):
        # Earlier versions wrote hyphens: the same method must look the same.
        settings["method.name"] = label(method)
    return settings


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


def radius_of(settings: Mapping[str, str]) -> float | None:
    """Return the radius that a recipe's evaluation attacks with; None if unknown."""
    for key in ("evaluation.epsilon", "attack.epsilon"):
        try:
            return float(settings[key])
        except (KeyError, ValueError):
            continue
    return None


def distinctions(settings: Sequence[Mapping[str, str]]) -> list[str]:
    """Return what tells each of several settings from the others, in words.

    Args:
        settings: flat, each different from every other one; seed and places do not
            count.

    Returns:
        For each `key=value, key=value`, without the keys that it does not have; empty
        texts where there is only one.

    Example:
        >>> distinctions([{"a.b": "1", "c": "x"}, {"a.b": "2", "c": "x"}])
        ['a.b=1', 'a.b=2']
    """
    found = [item for item in differing(settings).items() if item[0] not in PLACES]
    texts = []
    for position in range(len(settings)):
        parts = [
            f"{key}={_cut(values[position])}"
            for key, values in found[:MOST]
            if values[position] != ABSENT
        ]
        if more := found[MOST:]:
            parts.append(f"{len(more)} more")
        texts.append(", ".join(parts))
    # Those that differ only in what is left out are numbered.
    return [
        f"{text} ({texts[:position].count(text) + 1})"
        if text and texts.count(text) > 1
        else text
        for position, text in enumerate(texts)
    ]


def _cut(value: str) -> str:
    if "." in value:
        with contextlib.suppress(ValueError):
            value = f"{float(value):.6g}"
    return value if len(value) <= LONGEST else f"{value[: LONGEST - 1]}…"


def seed_groups(
    settings: Iterable[Mapping[str, str]], apart: Iterable[Hashable] = ()
) -> list[list[int]]:
    """Return the positions of runs that differ in their seed and places alone.

    Args:
        settings: of each run, flat; runs without settings belong to no group.
        apart: for each run, what else must be equal within a group; nothing if left
            out.

    Returns:
        The groups, those of one run included, in the order of their first runs.
    """
    groups: dict[Hashable, list[int]] = {}
    more = iter(apart)
    for position, each in enumerate(settings):
        other = next(more, None)
        if each:
            kept = frozenset(item for item in each.items() if item[0] not in PLACES)
            groups.setdefault((kept, other), []).append(position)
    return list(groups.values())
