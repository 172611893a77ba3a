from __future__ import annotations

import pytest

from kmtard.runs import Run
from kmtard.runs.listing import (
    BY_TITLE,
    as_table,
    matches,
    needs_explanation,
    ordered,
    shown_text,
    states,
)
from kmtard.runs.notes import Notes
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
        *("clean", "robust", "W-Robust", "radius", "seconds", "seconds left"),
    }
    assert not {"progress", "trend"} & {*table.header}


def test_what_is_not_final_is_marked_and_ranked_apart():
    final = Summary(Run("runs/final"), "finished", score=Accuracies(0.9, 0.1, 0.5))
    rows = [row("epoch", best=0.9), final, row("other", best=0.8)]

    assert [each.name for each in ordered(rows, "W-Robust")] == [
        *("final", "epoch", "other"),
    ]
    assert [each.name for each in ordered(rows, "clean", turned=True)][0] == "final"
    column = BY_TITLE["W-Robust"]
    texts = [shown_text(column, each) for each in rows]
    assert texts == ["90.00*", "50.00", "80.00*"]
    assert shown_text(column, row("none")) == "-"
    assert shown_text(BY_TITLE["seed"], row("a", best=0.5, seed="1")) == "1"
    assert needs_explanation(rows) and not needs_explanation([rows[0], rows[2]])
    # A file has plain numbers, and the column "of".
    table = as_table(rows)
    place = table.header.index("W-Robust")
    assert [line[place] for line in table.rows] == ["90.00", "50.00", "80.00"]


def test_progress_time_left_and_trend():
    running = row(
        "a",
        "running",
        fraction=0.999,
        left="~2h",
        seconds_left=7200.0,
        trend=(0.1, 0.4),
    )
    assert BY_TITLE["progress"].text(running) == "━━━━━─  99%"
    assert BY_TITLE["left"].text(running) == "~2h"
    assert BY_TITLE["trend"].text(running) == "▁█"
    done = row("b")
    assert {BY_TITLE[name].text(done) for name in ("progress", "left", "trend")} == {
        "-"
    }
    assert [each.name for each in ordered([done, running], "left")] == ["a", "b"]


def test_the_filter_finds_numbers_tags_and_notes():
    run = row("a", best=0.67, seed="0", notes=Notes("looks odd", ("final",)))

    for query in ("w>66 seed:0 tag:final note:odd", "clean:90 w<=67", "w:67"):
        assert matches(run, query), query
    for query in ("w>67", "seed:1", "tag:draft", "progress>1", "left<1h"):
        assert not matches(run, query), query


def test_runs_are_counted():
    assert states([]) == "0 runs"
    assert states([row("a")]) == "1 run"
    assert states([row("a"), row("b", "running")]) == "2 runs, 1 running"
