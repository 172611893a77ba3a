"""Cells of tables: our number, the paper's number and the difference."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from kmtard.report.paper import Number
from kmtard.runs.formats import ABSENT, mean_and_deviation

MEANS = "%; mean ± standard deviation over the seeds."
DIFFERENCE = "Δ: ours minus the paper's number, in percentage points."


def beside(shares: Sequence[float], number: Number | None) -> list[str]:
    """Return our number, the paper's, and the difference in percentage points.

    Args:
        shares: our values in [0, 1], one per seed.
        number: the paper's number; None for a dash.

    Example:
        >>> beside([0.8870], Number(88.2, "3, 4"))
        ['88.70', '88.20', '+0.50']
    """
    difference = ABSENT
    if shares and number:
        difference = f"{100 * statistics.mean(shares) - number.value:+z.2f}"
    return [
        mean_and_deviation(shares),
        number.text if number else ABSENT,
        difference,
    ]


def headings(name: str) -> list[str]:
    """Return the headings of the three columns of `beside`.

    Example:
        >>> headings("robust")
        ['robust', 'robust, paper', 'robust, Δ']
    """
    return [name, f"{name}, paper", f"{name}, Δ"]


def without_empty(
    header: Sequence[str], rows: Sequence[Sequence[str]], droppable: Iterable[str]
) -> tuple[list[str], list[list[str]]]:
    """Return a table without the droppable columns that contain only dashes.

    Args:
        header: names of the columns.
        rows: the rows.
        droppable: names of the columns that may be removed.

    Example:
        >>> without_empty(["a", "b"], [["1", "-"]], ["a", "b"])
        (['a'], [['1']])
    """
    may_go = set(droppable)
    kept = [
        place
        for place, name in enumerate(header)
        if name not in may_go or any(row[place] != ABSENT for row in rows)
    ]
    return [header[k] for k in kept], [[row[k] for k in kept] for row in rows]


def explanations(header: Sequence[str]) -> list[str]:
    """Return the notes that explain the columns of a table."""
    return [MEANS, *([DIFFERENCE] if any("Δ" in name for name in header) else [])]


def odd_note(label: str, number: Number | None) -> list[str]:
    """Return a note on a W-Robust accuracy in the paper that is not the stated mean."""
    if number is None or number.computed is None:
        return []
    return [
        f"† {label}: the paper prints {number.value:.2f}, but the mean of its clean "
        f"and robust accuracy is {number.computed:.2f}."
    ]
