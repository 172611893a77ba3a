"""Keys that are newer than version 0.1, with the value that 0.1 used implicitly.

Two recipes or runs are equal if one lacks such a key and the other has this value.
"""

from __future__ import annotations

SINCE_0_1: dict[str, object] = {
    "norm": "linf",
    "on_non_finite": "stop",
    "processes": 1,
    "class_weights": None,
    "freeze": None,
    "initial_losses": "first",
    "attack_warmup": 0,
    "evaluate_every_late": 1,
}
"""Last part of the key -> its value."""
