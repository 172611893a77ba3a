"""Colors and markers of curves, readable on dark and light themes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class SeriesStyle:
    """How a curve looks.

    Attributes:
        colour: red, green, blue, 0 to 255.
        marker: one character, by which the curve is known without color.
    """

    colour: tuple[int, int, int]
    marker: str


# Each has a contrast of at least 4.1 to #1e1e1e and 2.6 to #d8d8d8, the backgrounds.
STYLES = (
    SeriesStyle((62, 130, 232), "●"),
    SeriesStyle((214, 92, 20), "■"),
    SeriesStyle((26, 145, 96), "▲"),
    SeriesStyle((180, 90, 205), "◆"),
    SeriesStyle((158, 122, 20), "▼"),
    SeriesStyle((14, 140, 165), "★"),
    SeriesStyle((222, 70, 110), "+"),
    SeriesStyle((128, 128, 128), "×"),
)


def assign_looks(keys: Iterable[str], looks: dict[str, int], count: int) -> None:
    """Give each key a look that it keeps and shares with no other of these keys.

    Args:
        keys: of what is shown together.
        looks: key -> number of its look. New keys are added, and of two keys with the
            same look the later one gets another.
        count: of different looks; more keys than that share looks.
    """
    taken: set[int] = set()
    for key in sorted(keys, key=lambda key: key not in looks):
        free = [look for look in range(count) if look not in taken]
        if free and looks.get(key) not in free:
            unused = [look for look in free if look not in looks.values()]
            looks[key] = (unused or free)[0]
        taken.add(looks.setdefault(key, len(looks) % count))
