"""Settings of runs, from their resolved recipes, and what differs between them."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

from kmtard.registry import label
from kmtard.registry.roles import TEACHERS
from kmtard.registry.since import SINCE_0_1
from kmtard.runs.documents import read_toml
from kmtard.runs.folder import Run
from kmtard.runs.formats import ABSENT

PLACES = (
    *("runtime.seed", "runtime.runs_dir", "runtime.cache_dir"),
    *("runtime.devices", "runtime.processes", "runtime.coordinator"),
    "runtime.threads",
)
"""Settings that may differ between runs that count as equal."""

ABOUT = ("data.name", "method.name", "student.network", "runtime.seed")
"""Settings that describe a run in brief."""

MOST = 3  # settings that are written out in the name of a row
LONGEST = 24  # characters of a value in the name of a row

DEFAULTS = {key: str(value) for key, value in SINCE_0_1.items()}


def read_settings(run: Run) -> dict[str, str]:
    """Return a run's settings as `flatten` does; empty if it has no readable recipe.

    Keys that are newer than version 0.1 are left out if they have the value that 0.1
    used implicitly. So runs of different versions compare equal.
    """
    settings = {
        key: value
        for key, value in flatten(read_toml(run.recipe_path)).items()
        if DEFAULTS.get(key.rpartition(".")[2]) != value
    }
    if method := settings.get("method.name"):
        # Earlier versions wrote names with hyphens. Equal methods must compare equal.
        settings["method.name"] = label(method)
    return settings


def flatten(table: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return the settings of a recipe: dotted key -> value as in the file.

    Example:
        >>> flatten({"attack": {"steps": 10}})
        {'attack.steps': '10'}
    """
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
    """Return the settings that are not the same in all runs.

    Args:
        settings: the flat settings of each run.

    Returns:
        Dotted key -> its value in each run, a dash for a run without that key.
    """
    keys = dict.fromkeys(key for each in settings for key in each)
    values = {key: [each.get(key, ABSENT) for each in settings] for key in keys}
    return {key: found for key, found in values.items() if len(set(found)) > 1}


def setting_of(settings: Mapping[str, str]) -> str:
    """Return a text that is equal for runs that differ only in their seed and folders.

    Args:
        settings: the flat settings of a run; without any, the text is empty.
    """
    kept = sorted(item for item in settings.items() if item[0] not in PLACES)
    return hashlib.sha256(repr(kept).encode()).hexdigest()[:16] if kept else ""


def radius_of(settings: Mapping[str, str]) -> float | None:
    """Return the attack radius of a recipe's evaluation; None if unknown."""
    for key in ("evaluation.epsilon", "attack.epsilon"):
        try:
            return float(settings[key])
        except (KeyError, ValueError):
            continue
    return None


def distinctions(settings: Sequence[Mapping[str, str]]) -> list[str]:
    """Return, for each run, the settings that distinguish it from the others.

    Args:
        settings: the flat settings of each run. No two may be equal apart from the
            seed and the folders.

    Returns:
        One text per run, such as `key=value, key=value`, without keys that the run does
        not have. The text is empty if there is only one run.

    Example:
        >>> distinctions([{"a.b": "1", "c": "x"}, {"a.b": "2", "c": "x"}])
        ['a.b=1', 'a.b=2']
    """
    differing_keys = differing(settings)
    found = {key: v for key, v in differing_keys.items() if key not in PLACES}
    first, others = _by_use(found, len(settings))
    # All keys that are needed to tell the runs apart, and a few more.
    shown = [*first, *others][: max(MOST, len(first))]
    texts = []
    for position in range(len(settings)):
        parts = [
            f"{key}={_cut(found[key][position])}"
            for key in shown
            if found[key][position] != ABSENT
        ]
        if more := len(first) + len(others) - len(shown):
            parts.append(f"{more} more")
        texts.append(", ".join(parts))
    # Equal texts, which differ only in settings that are left out, are numbered.
    return [
        f"{text} ({texts[:position].count(text) + 1})"
        if text and texts.count(text) > 1
        else text
        for position, text in enumerate(texts)
    ]


def _by_use(
    found: Mapping[str, Sequence[str]], count: int
) -> tuple[list[str], list[str]]:
    """Return the keys that tell runs apart, and the other ones that differ.

    A key that ends with another key and has its values is left out, such as the
    schedule of a teacher, which is by default that of the student.

    Args:
        found: key -> one value per run.
        count: number of runs.
    """
    ordered = [
        key
        for key in found
        if not any(key.endswith(f".{o}") and found[o] == found[key] for o in found)
    ]
    first: list[str] = []
    apart: list[tuple[str, ...]] = [()] * count
    for key in sorted(ordered, key=lambda each: each.partition(".")[0] in TEACHERS):
        finer = [(*seen, found[key][place]) for place, seen in enumerate(apart)]
        if len(set(finer)) > len(set(apart)):
            first.append(key)
            apart = finer
    return first, [key for key in ordered if key not in first]


def _cut(value: str) -> str:
    if "." in value:
        with contextlib.suppress(ValueError):
            value = f"{float(value):.6g}"
    return value if len(value) <= LONGEST else f"{value[: LONGEST - 1]}…"


def seed_groups(
    settings: Iterable[Mapping[str, str]], apart: Iterable[Hashable] = ()
) -> list[list[int]]:
    """Group runs that differ only in their seed and folders.

    Args:
        settings: the flat settings of each run. Runs without settings belong to no
            group.
        apart: one more value per run that must be equal within a group.

    Returns:
        The positions of the runs in each group, in the order of the first runs. A run
        that equals no other one is a group by itself.
    """
    groups: dict[Hashable, list[int]] = {}
    more = iter(apart)
    for position, each in enumerate(settings):
        other = next(more, None)
        if each:
            kept = frozenset(item for item in each.items() if item[0] not in PLACES)
            groups.setdefault((kept, other), []).append(position)
    return list(groups.values())
