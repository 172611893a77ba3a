"""Evaluations of one student under several radii, and the commands that add more."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from kmtard.registry import ATTACKS
from kmtard.runs.documents import number
from kmtard.runs.formats import radius_text
from kmtard.runs.records import Results

PARTS = (0.25, 0.5, 1.0, 2.0)
"""Radii of the suggested command, as multiples of the radius of an evaluation."""


def radius_records(records: Sequence[Results]) -> list[Results]:
    """Return the largest group of records that differ only in their radius.

    Args:
        records: all records of a run or a model.

    Returns:
        One record per radius above 0, in ascending order; empty if the records have
        fewer than two radii.
    """
    groups: dict[str, dict[float, Results]] = {}
    for record in records:
        if (radius := record_radius(record)) is None:
            continue
        group = groups.setdefault(_group(record), {})
        known = group.get(radius)
        # Part of a curve is better: it knows what smaller radii fooled.
        if known is None or len(smaller_radii(record)) > len(smaller_radii(known)):
            group[radius] = record
    largest = max(groups.values(), key=len, default={})
    return [largest[radius] for radius in sorted(largest)] if len(largest) > 1 else []


def record_radius(record: Results) -> float | None:
    """Return the radius that attacks given by name had; None if unknown or 0."""
    return number((record.conditions or {}).get("epsilon")) or None


def smaller_radii(record: Results) -> Sequence[float]:
    """Return the smaller radii of the curve that a record is a part of, if it is."""
    found = (record.conditions or {}).get("smaller_epsilons")
    values = map(number, found) if isinstance(found, list) else ()
    return [value for value in values if value is not None]


def curve_radii(radius: float) -> tuple[str, ...]:
    """Return radii around one, for a curve of robust accuracy over epsilon.

    Args:
        radius: radius of an evaluation, > 0.

    Example:
        >>> curve_radii(8 / 255)
        ('0', '2/255', '4/255', '8/255', '16/255')
    """
    radii = ["0", *(radius_text(min(1.0, part * radius)) for part in PARTS)]
    return tuple(dict.fromkeys(radii))


def curve_command(folder: Path, radii: Sequence[str]) -> str:
    """Return the command that measures robust accuracy over epsilon.

    Args:
        folder: folder of the run.
        radii: as `curve_radii` returns them.

    Example:
        >>> curve_command(Path("runs/a"), ("0", "8/255"))
        'kmtard evaluate runs/a --epsilons 0,8/255'
    """
    words = ("kmtard", "evaluate", str(folder), "--epsilons", ",".join(radii))
    return shlex.join(words)


def evaluate_command(folder: Path, record: Results | None, attack: str = "") -> str:
    """Return the command that writes a record again, with what it lacks.

    Finished batches are not computed again.

    Args:
        folder: folder of the run.
        record: the record; None for the run's own evaluation.
        attack: name of the attack; empty for those of the recipe.

    Example:
        >>> evaluate_command(Path("my runs/a"), None)
        "kmtard evaluate 'my runs/a'"
    """
    words = ["kmtard", "evaluate", str(folder)]
    if attack in ATTACKS:
        words += ["--attacks", attack]
    if record is not None and (radius := record_radius(record)) is not None:
        # The recipe sets the radius of the run's own evaluation.
        if smaller := smaller_radii(record):
            radii = map(_exact, (*smaller, radius))
            words += ["--epsilons", ",".join(radii)]
        elif record.path.parent != folder:
            words += ["--epsilon", _exact(radius)]
    return shlex.join(words)


def _group(record: Results) -> str:
    conditions: Mapping[str, Any] = record.conditions or {}
    shared = {
        key: value
        for key, value in conditions.items()
        if key not in ("epsilon", "smaller_epsilons")
    }
    return repr((sorted(shared.items()), record.student.weights))


def _exact(radius: float) -> str:
    text = radius_text(radius)
    return text if float(Fraction(text)) == radius else repr(radius)
