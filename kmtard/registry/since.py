"""Keys that version 0.1 did not have, with the value that stands for their absence.

Recipes and runs with and without such a key are equal if the key has this value.
"""

from __future__ import annotations

SINCE_0_1: dict[str, object] = {
    "norm": "linf",
    "on_non_finite": "stop",
    "processes": 1,
}
"""Last part of the key -> the value."""
