"""The list as lines: studies open to their cells, settings to their seeds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kmtard.runs import Run
from kmtard.runs.listing import COLUMNS
from kmtard.runs.outline import (
    Line,
    column_texts,
    line_text,
    outline,
    settings_lines,
)
from kmtard.runs.phase import Accuracies
from kmtard.runs.studies import StudyFolder
from kmtard.runs.study_views import CellView, StudyView
from kmtard.runs.summary import Summary

pytestmark = pytest.mark.once("torch")


def row(name: str, best: float | None = None, **fields: Any) -> Summary:
    epoch = fields.pop("epoch", None)
    score = None
    if best is not None:
        score = Accuracies(best + 0.1, best - 0.1, best, epoch=epoch)
    state = fields.pop("state", "finished")
    return Summary(Run(f"runs/{name}"), state, score=score, **fields)


def seeds(name: str, *bests: float | None, **fields: Any) -> list[Summary]:
    """Return the runs of one setting, newest first."""
    return [
        row(f"{name}{n}", best, seed=str(n), setting=name, created=10.0 + n, **fields)
        for n, best in reversed(list(enumerate(bests)))
    ]


def cell(method: str, seed: int, run: Summary | None, state: str = "") -> CellView:
    known = run.state if run else "new"
    where = "queue" if state == "waiting" else "here"
    name = f"{method},s{seed}"
    return CellView(name, method, seed, method, state or known, where, row=run)


def study(*cells: CellView, name: str = "table") -> StudyView:
    return StudyView(StudyFolder(Path("runs/studies") / name), 100.0, cells)


def shown(lines: list[Line]) -> list[str]:
    return [f"{'  ' * line.depth}{line.name}" for line in lines]


def test_runs_of_one_setting_group_their_seeds() -> None:
    rows = [row("other", 0.4, created=20.0, setting="o"), *seeds("b", 0.4, 0.5)]
    rows[1:] = [replace(each, method="b-mtard", data="digits") for each in rows[1:]]
    lines = outline(rows)
    assert shown(lines) == ["other", "b-mtard digits", "  b1", "  b0"]
    texts = column_texts(lines[1])
    assert texts["W-Robust"] == "45.00 ± 7.07"
    assert (texts["clean"], texts["robust"]) == ("55.00 ± 7.07", "35.00 ± 7.07")
    assert (texts["epoch"], texts["seed"], texts["of"]) == ("2/2 runs", "1,0", "test")
    assert lines[1].state == "finished" and lines[1].row is None
    closed = outline(rows, toggled={lines[1].key})
    assert shown(closed) == ["other", "b-mtard digits"]
    assert closed[1].runs == lines[1].runs


def test_equal_runs_with_one_seed_are_no_group() -> None:
    rows = [row(name, 0.5, seed="0", setting="x") for name in "ab"]
    assert shown(outline(rows)) == ["a", "b"]
    # Runs whose recipe cannot be read have nothing in common.
    damaged = [row(name, seed=seed) for name, seed in (("c", "0"), ("d", "1"))]
    assert shown(outline(damaged)) == ["c", "d"]


def test_only_what_can_be_compared_is_averaged() -> None:
    [last, first] = seeds("b", 0.4, 0.5)
    for other, mean in (
        (replace(last, score=None, state="running"), "40.00"),
        # On held-out images during the training.
        (row("b1", 0.5, seed="1", setting="b", epoch=3, state="running"), "40.00"),
        (replace(last, epsilon=0.1), "-"),
        (
            replace(last, score=Accuracies(0.5, 0.4, 0.45, attack="autoattack")),
            "-",
        ),
    ):
        head = outline([other, first])[0]
        assert column_texts(head)["W-Robust"] == mean
        assert head.state == other.state


def test_a_study_is_one_line_that_opens() -> None:
    mine = seeds("b", 0.4, 0.5)
    cells = [
        cell("b", 0, mine[1]),
        cell("b", 1, mine[0]),
        cell("sat", 0, None, "waiting"),
    ]
    rows = [*mine, row("alone", 0.3, created=1.0, setting="a")]
    one = study(*cells)
    lines = outline(rows, [one])
    assert shown(lines) == ["table", "alone"]
    texts = column_texts(lines[0])
    assert (lines[0].state, texts["epoch"]) == ("waiting", "2/3 runs")
    assert (texts["method"], texts["W-Robust"]) == ("2 methods", "-")
    opened = outline(rows, [one], toggled={lines[0].key})
    assert shown(opened) == [
        *("table", "  b", "    b,s0", "    b,s1", "  sat,s0", "alone")
    ]
    assert column_texts(opened[1])["W-Robust"] == "45.00 ± 7.07"
    waiting = column_texts(opened[4])
    assert (waiting["state"], waiting["method"]) == ("waiting", "sat")
    assert (waiting["seed"], waiting["where"]) == ("0", "queue")
    assert opened[4].row is None and opened[2].row is mine[1]
    assert len({line.key for line in opened}) == len(opened)
    # A run that stopped and waits to be resumed: the cell tells.
    stopped = replace(mine[0], state="stopped")
    again = study(cells[0], cell("b", 1, stopped, "waiting"))
    opened = outline([mine[1], stopped], [again], toggled={lines[0].key})
    assert [line.state for line in opened] == ["waiting"] * 2 + ["finished", "waiting"]


def test_lines_rank_as_their_first_run() -> None:
    good, bad = seeds("g", 0.6, 0.2), seeds("b", 0.3, 0.1)
    alone = row("alone", 0.5, setting="a", created=1.0)
    one = study(cell("b", 0, bad[1]), cell("b", 1, bad[0]))
    every = [*good, *bad, alone]

    def names(turned: bool) -> list[str]:
        lines = outline(every, [one], title="W-Robust", turned=turned)
        return [line.name for line in lines]

    assert names(False) == ["", "g0", "g1", "alone", "table"]
    assert names(True) == ["table", "", "g1", "g0", "alone"]
    # A study of which nothing has begun was just started.
    new = study(cell("x", 0, None, "waiting"), name="new")
    for title in (column.title for column in COLUMNS):
        lines = outline(every, [one, new], title=title)
        assert lines[0].name == "new"
        assert all(line_text(column, each) for column in COLUMNS[2:] for each in lines)


def test_two_studies_may_share_their_runs() -> None:
    mine = seeds("b", 0.4, 0.5)
    cells = [cell("b", 0, mine[1]), cell("b", 1, mine[0])]
    both = [study(*cells, name="one"), study(*cells, name="two")]
    keys = {f"runs/studies/{name}" for name in ("one", "two")}
    lines = outline(mine, both, toggled=keys)
    assert shown(lines).count("    b,s0") == 2
    assert len({line.key for line in lines}) == len(lines) == 8


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("study:tab", ["table"]),
        ("table s1", ["table"]),
        ("state:waiting", ["table"]),
        ("method:sat", ["table"]),
        ("alone", ["alone"]),
        ("study:alone", []),
        ("state:stopped", []),
    ],
)
def test_the_filter_knows_studies_and_cells(query: str, names: list[str]) -> None:
    mine = seeds("b", 0.4, 0.5)
    one = study(
        cell("b", 0, mine[1]), cell("b", 1, mine[0]), cell("sat", 1, None, "waiting")
    )
    rows = [*mine, row("alone", 0.3, created=1.0, setting="a")]
    assert shown(outline(rows, [one], query=query)) == names


def test_the_settings_of_a_study_are_in_its_order() -> None:
    mine = seeds("b", 0.4, 0.5)
    sat = row("sat0", 0.2, setting="s", seed="0")
    one = study(cell("sat", 0, sat), cell("b", 0, mine[1]), cell("b", 1, mine[0]))
    lines = settings_lines(one)
    assert [line.name for line in lines] == ["sat,s0", "b"]
    assert [column_texts(line)["W-Robust"] for line in lines] == [
        *("20.00", "45.00 ± 7.07")
    ]
    assert line_text(COLUMNS[0], lines[0]) == "finished"
