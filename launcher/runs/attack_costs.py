"""What an attack costs: the time that it took before, or its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kmtard import registry
from kmtard.runs.formats import duration
from kmtard.runs.records import Results

FIXED = {
    "fgsm": "1 step",
    "apgd_ce": "100 steps",
    "apgd_dlr": "100 steps",
    "apgd_t": "900 steps",
    "fab_t": "900 steps",
    # And the queries of Square.
    "autoattack": "> 1900 steps",
    "autoattack_rand": "4000 steps",
    "square_100": "100 queries",
    "rays_100": "100 queries",
    "ge": "2000 queries",
}
"""Costs of attacks whose parameters are fixed in their code, per image."""

COUNTS = ("steps", "queries")
"""Parameters of attacks that count work per image."""


def measured_seconds(records: Sequence[Results]) -> dict[str, float]:
    """Return the time of each attack on the student, in seconds.

    Args:
        records: of one run. The first one with an attack counts.
    """
    found: dict[str, float] = {}
    for record in records:
        for name, score in record.student.attacks.items():
            if score.cost is not None:
                found.setdefault(name, score.cost.seconds)
    return found


def cost_text(attack: str, seconds: Mapping[str, float]) -> str:
    """Return the cost of an attack for the screen; empty if it is unknown.

    Args:
        attack: name in the registry.
        seconds: as `measured_seconds` returns them.

    Example:
        >>> cost_text("pgd_trades", {}), cost_text("pgd_trades", {"pgd_trades": 75})
        ('20 steps', '1m 15s')
    """
    if attack in seconds:
        return duration(seconds[attack]) if seconds[attack] >= 1 else "< 1s"
    if attack in FIXED:
        return FIXED[attack]
    try:
        known = registry.options("attacks", attack)
    except registry.RegistryError:
        return ""
    for name in COUNTS:
        option = known.get(name)
        if option is not None and option.literal:
            return f"{option.default} {name}"
    return ""
