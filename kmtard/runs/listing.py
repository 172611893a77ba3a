"""The list of runs as text: its columns, order and filter."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
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
        text: returns the text for a run; a dash if the run has no value.
        key: returns the value to sort by; None goes last.
        falls: whether the order starts with the largest value.
    """

    title: str
    text: Callable[[Summary], str]
    key: Callable[[Summary], Any]
    falls: bool = False


def _number(title: str, share: Callable[[Summary], float | None]) -> Column:
    return Column(title, lambda row: percent(share(row)), share, falls=True)


def _text(title: str, text: Callable[[Summary], str]) -> Column:
    return Column(title, lambda row: text(row) or ABSENT, lambda row: text(row) or None)


COLUMNS = (
    Column("state", lambda row: row.state, lambda row: row.state),
    Column("name", lambda row: row.name, lambda row: row.name),
    _text("method", lambda row: row.method),
    _number("W-Robust", lambda row: row.score.w_robust if row.score else None),
    _number("clean", lambda row: row.score.clean if row.score else None),
    _number("robust", lambda row: row.score.robust if row.score else None),
    Column("epoch", lambda row: row.progress or ABSENT, lambda row: row.done, True),
    Column("time", lambda row: duration(row.seconds), lambda row: row.seconds, True),
    _text("seed", lambda row: row.seed),
    _text("of", lambda row: row.score.origin if row.score else ""),
    Column(
        "radius",
        lambda row: radius_text(row.epsilon) or ABSENT,
        lambda row: row.epsilon,
    ),
    _text("data", lambda row: row.data),
    Column(
        "started",
        lambda row: day(row.created),
        lambda row: row.created or None,
        True,
    ),
    _text("attack", lambda row: row.score.attack if row.score else ""),
    _text("where", lambda row: row.where),
)
BY_TITLE = {column.title: column for column in COLUMNS}
ATTACKED = ("W-Robust", "robust")

TEXTS = (
    *("state", "name", "method", "data"),
    *("epoch", "seed", "of", "started", "attack", "where"),
)
FIELDS: dict[str, Callable[[Summary], str]] = {
    "state": lambda row: row.state,
    "name": lambda row: row.name,
    "method": lambda row: row.method,
    "data": lambda row: row.data,
}


def matches(row: Summary, query: str, study: str = "") -> bool:
    """Return whether a run matches every word of a query.

    Args:
        row: the run.
        query: words such as `mtard` or `state:running`, separated by spaces.
        study: name of the study that the run belongs to.
    """
    texts = {name: text(row) for name, text in FIELDS.items()}
    return has_words({**texts, "study": study}, query)


def has_words(texts: Mapping[str, str], query: str) -> bool:
    """Return whether each word is in one of the texts, or in the text it names.

    Example:
        >>> has_words({"state": "running", "name": "a"}, "state:run a")
        True
    """
    for word in query.casefold().split():
        field, colon, value = word.partition(":")
        is_field = colon and field in texts
        searched = [texts[field]] if is_field else texts.values()
        wanted = value if is_field else word
        if not any(wanted in text.casefold() for text in searched):
            return False
    return True


def ordered(
    rows: Iterable[Summary], title: str, *, turned: bool = False
) -> list[Summary]:
    """Return runs in the order of a column; runs without a value go last.

    Accuracies under attacks of different radii are not comparable, so these columns
    group the runs by radius.

    Args:
        rows: the runs, newest first; runs with equal values keep this order.
        title: title of the column.
        turned: whether the order is reversed.
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


def as_table(rows: Iterable[Summary]) -> Table:
    """Return the runs as a table for a file, with times in seconds."""
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
    """Return the number of runs, and of those that are running."""
    running = sum(row.state == "running" for row in rows)
    text = f"{len(rows)} run{'' if len(rows) == 1 else 's'}"
    return f"{text}, {running} running" if running else text
