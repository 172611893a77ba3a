from __future__ import annotations

import pytest

from kmtard.runs import Run
from kmtard.runs.listing import (
    BY_TITLE,
    as_table,
    matches,
    ordered,
    states,
)
from kmtard.runs.phase import Accuracies
from kmtard.runs.summary import Summary

pytestmark = pytest.mark.once("torch")


def row(name, state="finished", best=None, **fields):
    score = None if best is None else Accuracies(0.9, 0.5, best, epoch=3)
    return Summary(Run(f"runs/{name}"), state, score=score, **fields)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", True),
        ("DIGITS mtard", True),
        ("state:finished", True),
        ("finish 實", False),
        ("method:digits", False),
        ("method:b-m data:dig", True),
        ("host:b-mtard", False),
        ("name:[b]", True),
    ],
)
def test_every_word_must_be_found(query, found):
    run = row("a[b]-1", method="b-mtard", data="digits")

    assert matches(run, query) is found


def test_runs_without_a_value_go_last_in_either_order():
    rows = [
        row("none"),
        row("low", best=0.1),
        row("high", best=0.9),
        row("two", best=0.1),
    ]

    def names(turned):
        return [each.name for each in ordered(rows, "W-Robust", turned=turned)]

    assert names(False) == ["high", "low", "two", "none"]
    assert names(True) == ["low", "two", "high", "none"]


def test_radii_are_not_ranked_together():
    rows = [
        row("low", best=0.1, epsilon=0.1),
        row("unknown", best=0.8),
        row("far", best=0.9, epsilon=0.2),
        row("high", best=0.5, epsilon=0.1),
    ]

    names = [each.name for each in ordered(rows, "W-Robust")]

    assert names == ["high", "low", "far", "unknown"]
    texts = [BY_TITLE["radius"].text(each) for each in rows]
    assert texts == ["0.1", "-", "0.2", "0.1"]


@pytest.mark.parametrize("title", BY_TITLE)
def test_every_column_sorts_rows_of_any_kind(title):
    rows = [
        row("b", best=0.5, created=5.0, seconds=3.0, done=0.5, method="m", data="d"),
        row("a", "damaged"),
        row("c", "running", best=0.1, created=1e300),
    ]

    for turned in (False, True):
        assert sorted(map(id, ordered(rows, title, turned=turned))) == sorted(
            map(id, rows)
        )
    assert all(BY_TITLE[title].text(each) for each in rows)


def test_a_table_for_a_file_has_every_column_and_plain_seconds():
    table = as_table([row("=x", best=0.5, seconds=61.4)])

    line = dict(zip(table.header, table.rows[0], strict=True))
    assert line["name"] == "=x"
    assert (line["W-Robust"], line["of"], line["seconds"]) == ("50.00", "epoch 3", "61")
    assert set(table.numbers) == {
        *("clean", "robust", "W-Robust", "radius", "seconds"),
    }


def test_runs_are_counted():
    assert states([]) == "0 runs"
    assert states([row("a")]) == "1 run"
    assert states([row("a"), row("b", "running")]) == "2 runs, 1 running"
