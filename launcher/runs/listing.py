"""The list of runs: its columns, its order, its filter."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from kmtard.runs.formats import ABSENT, day, duration, percent, radius_text
from kmtard.runs.summary import Summary
from kmtard.runs.tables import Table


@dataclass(frozen=True)
class Column:
    """A column of the list.

    Attributes:
        title: its heading, and its name in the settings.
        width: in cells; that of the name is what the others leave.
        text: what it says of a run; a dash for nothing.
        key: what it is sorted by; None goes last.
        falls: whether its order begins with the largest.
    """

    title: str
    width: int
    text: Callable[[Summary], str]
    key: Callable[[Summary], Any]
    falls: bool = False


def _number(title: str, width: int, share: Callable[[Summary], float | None]) -> Column:
    return Column(title, width, lambda row: percent(share(row)), share, falls=True)


def _text(title: str, width: int, text: Callable[[Summary], str]) -> Column:
    return Column(
        title, width, lambda row: text(row) or ABSENT, lambda row: text(row) or None
    )


COLUMNS = (
    Column("state", 11, lambda row: row.state, lambda row: row.state),
    Column("name", 14, lambda row: row.name, lambda row: row.name),
    _text("method", 12, lambda row: row.method),
    _number("W-Robust", 8, lambda row: row.score.w_robust if row.score else None),
    _number("clean", 6, lambda row: row.score.clean if row.score else None),
    _number("robust", 6, lambda row: row.score.robust if row.score else None),
    Column("epoch", 9, lambda row: row.progress or ABSENT, lambda row: row.done, True),
    Column("time", 7, lambda row: duration(row.seconds), lambda row: row.seconds, True),
    _text("of", 9, lambda row: row.score.origin if row.score else ""),
    Column(
        "radius",
        7,
        lambda row: radius_text(row.epsilon) or ABSENT,
        lambda row: row.epsilon,
    ),
    _text("data", 13, lambda row: row.data),
    Column(
        "started",
        12,
        lambda row: day(row.created),
        lambda row: row.created or None,
        True,
    ),
    _text("attack", 12, lambda row: row.score.attack if row.score else ""),
)
BY_TITLE = {column.title: column for column in COLUMNS}
ATTACKED = ("W-Robust", "robust")
COMPACT = ("state", "name", "W-Robust")
"""What the list shows where there is little room."""

TEXTS = (
    *("state", "name", "method", "data"),
    *("epoch", "of", "started", "attack"),
)
FIELDS: dict[str, Callable[[Summary], str]] = {
    "state": lambda row: row.state,
    "name": lambda row: row.name,
    "method": lambda row: row.method,
    "data": lambda row: row.data,
}


def matches(row: Summary, query: str) -> bool:
    """Tell whether a run has every word, `state:running` in that field alone."""
    for word in query.casefold().split():
        field, colon, value = word.partition(":")
        fields = [FIELDS[field]] if colon and field in FIELDS else FIELDS.values()
        wanted = value if colon and field in FIELDS else word
        if not any(wanted in text(row).casefold() for text in fields):
            return False
    return True


def ordered(
    rows: Iterable[Summary], title: str, *, turned: bool = False
) -> list[Summary]:
    """Return runs in the order of a column; those it says nothing of go last.

    Accuracies under attacks of different radii are not ranked together: the runs of
    each radius stand together.

    Args:
        rows: newest first, which stays so among equal ones.
        title: of the column.
        turned: whether the order is the other way round.
    """
    column = BY_TITLE[title]
    known: list[Summary] = []
    unknown: list[Summary] = []
    for row in rows:
        (unknown if column.key(row) is None else known).append(row)
    known.sort(key=column.key, reverse=column.falls != turned)
    if title in ATTACKED:
        known.sort(key=lambda row: math.inf if row.epsilon is None else row.epsilon)
    return known + unknown


def fitting(width: int, longest: int) -> tuple[list[Column], int]:
    """Return the columns in their order and the width of the name.

    The name gets what is left when as many columns as possible stand beside it.

    Args:
        width: of the list, in cells.
        longest: width of the longest name.
    """
    state, name, *others = COLUMNS
    left = width - state.width - 1
    for column in others:
        if left - column.width - 1 <= name.width:
            break
        left -= column.width + 1
    return list(COLUMNS), max(8, min(left - 1, longest))


def as_table(rows: Iterable[Summary]) -> Table:
    """Return the runs for a file, the time in seconds."""
    titles = ["seconds" if title == "time" else title for title in BY_TITLE]
    lines = [
        [
            f"{row.seconds:.0f}" if column.title == "time" else column.text(row)
            for column in COLUMNS
        ]
        for row in rows
    ]
    return Table(titles, lines, set(titles).difference(TEXTS))


def states(rows: Collection[Summary]) -> str:
    """Return how many runs there are, and how many run."""
    running = sum(row.state == "running" for row in rows)
    text = f"{len(rows)} run{'' if len(rows) == 1 else 's'}"
    return f"{text}, {running} running" if running else text
