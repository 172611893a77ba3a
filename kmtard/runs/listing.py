"""The list of runs as text: its columns, order and filter."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from kmtard.runs.formats import (
    ABSENT,
    bar,
    day,
    duration,
    percent,
    radius_text,
    sparkline,
)
from kmtard.runs.query import read_query
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


BAR, TREND = 6, 10  # characters


def progress_text(fraction: float | None, width: int = BAR) -> str:
    """Return a share of work as a bar of some width and in %; a dash for None."""
    if fraction is None:
        return ABSENT
    # Not 100 before all is done.
    return f"{bar(fraction, width)} {int(100 * fraction):3}%"


COLUMNS = (
    Column("state", lambda row: row.state, lambda row: row.state),
    Column("name", lambda row: row.name, lambda row: row.name),
    _text("method", lambda row: row.method),
    _number("W-Robust", lambda row: row.score.w_robust if row.score else None),
    _number("clean", lambda row: row.score.clean if row.score else None),
    _number("robust", lambda row: row.score.robust if row.score else None),
    Column("epoch", lambda row: row.progress or ABSENT, lambda row: row.done, True),
    Column("left", lambda row: row.left or ABSENT, lambda row: row.seconds_left),
    Column(
        "progress",
        lambda row: progress_text(row.fraction),
        lambda row: row.fraction,
        True,
    ),
    Column("time", lambda row: duration(row.seconds), lambda row: row.seconds, True),
    _text("seed", lambda row: row.seed),
    _text("of", lambda row: row.score.origin if row.score else ""),
    Column(
        "trend",
        lambda row: sparkline(row.trend, TREND) or ABSENT,
        lambda row: row.trend[-1] - row.trend[0] if row.trend else None,
        True,
    ),
    _text("tags", lambda row: " ".join(row.notes.tags)),
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
    _text("note", lambda row: row.notes.text),
)
BY_TITLE = {column.title: column for column in COLUMNS}
ATTACKED = ("W-Robust", "robust")
SECONDS = {"time": "seconds", "left": "seconds left"}
"""Column -> its title in a file, where times are numbers of seconds."""

ACCURACIES = (*ATTACKED, "clean")
DRAWN = ("progress", "trend")
"""Columns that are pictures: not for a file."""

MARK = "*"
"""The sign after accuracies that are not from the final evaluation."""

MARK_MEANS = f"{MARK} epoch so far, not the final test"

TEXTS = (
    *("state", "name", "method", "data"),
    *("epoch", "seed", "of", "started", "attack", "where"),
    *("progress", "trend", "tags", "note"),
)


def is_marked(row: Summary) -> bool:
    """Return whether the accuracies of a run cannot be compared with final ones."""
    return row.score is not None and not row.score.is_final


def shown_text(column: Column, row: Summary) -> str:
    """Return the text of a column for the screen, with `MARK` where it is needed."""
    text = column.text(row)
    needs_mark = column.title in ACCURACIES and is_marked(row) and text != ABSENT
    return f"{text}{MARK}" if needs_mark else text


def needs_explanation(rows: Iterable[Summary]) -> bool:
    """Return whether some accuracies are final and others are not."""
    return len({row.score.is_final for row in rows if row.score}) > 1


def matches(row: Summary, query: str, study: str = "") -> bool:
    """Return whether a run matches every word of a query.

    Args:
        row: the run.
        query: as `kmtard.runs.query.read_query` reads it.
        study: name of the study that the run belongs to.
    """
    texts = {
        "state": row.state,
        "name": row.name,
        "method": row.method,
        "data": row.data,
        "study": study,
        "tag": " ".join(row.notes.tags),
        "note": row.notes.text,
        "where": row.where,
        "network": row.network,
    }
    return read_query(query).matches(texts, _numbers(row))


def _numbers(row: Summary) -> dict[str, float | None]:
    score = row.score
    shares = {
        "W-Robust": score.w_robust if score else None,
        "clean": score.clean if score else None,
        "robust": score.robust if score else None,
        "progress": row.fraction,
    }
    percents = {name: None if s is None else 100 * s for name, s in shares.items()}
    return {
        **percents,
        "time": row.seconds,
        "left": row.seconds_left,
        "radius": row.epsilon,
        "seed": float(row.seed) if row.seed.isdecimal() else None,
        "created": row.created,
    }


def ordered(
    rows: Iterable[Summary], title: str, *, turned: bool = False
) -> list[Summary]:
    """Return runs in the order of a column; runs without a value go last.

    Accuracies of epochs are not comparable with those of the final evaluation, and
    those under attacks of different radii are not comparable either. So these columns
    list the final ones first, and group them by radius.

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
    if title in ACCURACIES:
        known.sort(key=is_marked)
    return known + unknown


def as_table(rows: Iterable[Summary]) -> Table:
    """Return the runs as a table for a file, with times in seconds."""
    columns = [column for column in COLUMNS if column.title not in DRAWN]
    titles = [SECONDS.get(column.title, column.title) for column in columns]
    lines = [
        [_plain_seconds(column, row) or column.text(row) for column in columns]
        for row in rows
    ]
    return Table(titles, lines, set(titles).difference(TEXTS))


def _plain_seconds(column: Column, row: Summary) -> str:
    if column.title not in SECONDS:
        return ""
    value = column.key(row)
    return ABSENT if value is None else f"{value:.0f}"


def states(rows: Collection[Summary]) -> str:
    """Return the number of runs, and of those that are running."""
    running = sum(row.state == "running" for row in rows)
    text = f"{len(rows)} run{'' if len(rows) == 1 else 's'}"
    return f"{text}, {running} running" if running else text
