from __future__ import annotations

import json
import statistics
from dataclasses import replace

import pytest

from kmtard.runs import EventWriter, Run
from kmtard.runs.comparison import (
    ComparedReader,
    figures_table,
    folded,
    legend_of,
    metrics_of,
    settings_table,
    single,
)
from tests.kmtard.runs.test_results import record

pytestmark = pytest.mark.once("torch")

RECIPE = '[method]\nname = "{}"\n[runtime]\nseed = {}\n'


@pytest.fixture
def compared(make_run):
    def make(name, method, seed, **options):
        run = make_run(name, recipe=RECIPE.format(method, seed), **options)
        return ComparedReader(run).read()

    return make


def test_curves_are_those_of_the_student(compared):
    run = compared("a", "mtard", 0, epochs=4, done=3)

    assert run.curves["w_robust_accuracy"] == (
        (1, 2, 3),
        pytest.approx((0.45625, 0.5625, 0.66875), abs=0.2),
    )
    assert metrics_of([run])[:4] == [
        *("w_robust_accuracy", "clean_accuracy", "robust_accuracy", "loss"),
    ]
    assert set(metrics_of([run])) == run.curves.keys()


def test_what_is_not_there_is_no_traceback(tmp_path):
    run = ComparedReader(Run(tmp_path / "gone")).read()

    assert (run.curves, run.settings, metrics_of([run])) == ({}, {}, [])
    assert figures_table([run, run], run.path).rows[0][1:4] == ["-", "-", "-"]


def test_what_was_read_stays_while_the_run_grows(make_run):
    run = make_run(state="running", done=2)
    reader = ComparedReader(run)
    before = reader.read()
    metrics = {"w_robust_accuracy": None, "loss": 0.1}
    EventWriter(run.events_path).write(
        "epoch", phase="student", epoch=3, step=30, metrics=metrics
    )
    after = reader.read()

    assert before.curves["w_robust_accuracy"][0] == (1, 2)
    assert after.curves["w_robust_accuracy"][0] == (1, 2, 3)
    assert after.curves["w_robust_accuracy"][1][-1] is None


def test_differences_are_to_the_baseline(compared):
    runs = [compared("a", "mtard", 0), compared("b", "rslad", 0, done=2)]

    assert figures_table(runs, None).header[:5] == [
        *("run", "clean", "robust", "W-Robust", "of"),
    ]
    table = figures_table(runs, runs[0].path)
    assert table.header[4:7] == ["Δ clean", "Δ robust", "Δ W-Robust"]
    assert table.rows[0][:7] == ["a", "95.00", "60.00", "77.50", *["+0.00"] * 3]
    assert table.rows[1][:7] == [
        *("b", "72.50", "40.00", "56.25", "-22.50", "-20.00", "-21.25"),
    ]
    assert figures_table(runs[1:], runs[0].path).header[4] == "of"


def test_a_figure_names_methods_and_seeds(compared):
    runs = [
        compared("a", "mtard", 0),
        compared("b", "rslad", 0),
        compared("c", "mtard", 1),
        compared("d", "mtard", 1),
    ]
    assert legend_of(runs[:2]) == ["mtard", "rslad"]
    assert legend_of(runs[:3]) == ["mtard, seed 0", "rslad, seed 0", "mtard, seed 1"]
    assert legend_of(runs) == list("abcd")
    other = replace(runs[3], settings={**runs[3].settings, "data.batch_size": "9"})
    assert legend_of([*runs[:3], other]) == [
        "mtard, seed 0",
        "rslad, seed 0",
        "mtard, seed 1",
        "mtard, data.batch_size=9, seed 1",
    ]


def test_curves_over_steps_and_time(compared):
    runs = [compared("a", "mtard", 0), compared("b", "mtard", 1, done=2)]
    metric = "w_robust_accuracy"

    assert single(runs[0], metric, "step", "a").x == [10, 20, 30, 40]
    times = single(runs[0], metric, "time", "a").x
    assert len(times) == 4 and list(times) == sorted(times)
    [mean] = folded(runs, metric, "step")
    assert mean.x == [10, 20] and len(mean.y) == 2
    unknown = replace(runs[0], places={"step": ((), ())})
    assert single(unknown, metric, "step", "a").x == []


def test_runs_of_several_seeds_have_mean_and_deviation(compared):
    runs = [
        compared("a", "mtard", 0),
        compared("b", "rslad", 0),
        compared("c", "mtard", 1, done=2),
    ]
    table = figures_table(runs, runs[0].path)

    assert [row[0] for row in table.rows] == [
        *("a", "b", "c", "mtard, mean of 2", "mtard, ± of 2"),
    ]
    assert table.rows[3][1:6] == ["83.75", "50.00", "66.88", "-11.25", "-10.00"]
    assert table.rows[4][1:7] == ["15.91", "14.14", "15.03", "-", "-", "-"]
    assert {row[8] for row in table.rows} == {"pgd_trades"}
    assert {len(row) for row in table.rows} == {len(table.header)}
    assert table.header[-2:] == ["method", "seed"]
    assert [row[-2:] for row in table.rows] == [
        *(["mtard", "0"], ["rslad", "0"], ["mtard", "1"]),
        *(["mtard", "-"], ["mtard", "-"]),
    ]


def test_seeds_fold_into_mean_and_deviation(compared):
    runs = [
        compared("a", "mtard", 0),
        compared("b", "rslad", 0),
        compared("c", "mtard", 1, done=2, epochs=8),
    ]
    first, second = folded(runs, "w_robust_accuracy")

    assert (first.path, first.label) == (runs[0].path, "mtard, mean of 2")
    ys = [run.curves["w_robust_accuracy"][1] for run in (runs[0], runs[2])]
    # Only epochs that both have.
    assert first.x == [1, 2]
    for place in (0, 1):
        pair = [y[place] for y in ys]
        assert first.y[place] == pytest.approx(statistics.mean(pair))
        spread = first.high[place] - first.y[place]
        assert spread == pytest.approx(statistics.stdev(pair))
        assert first.y[place] - first.low[place] == pytest.approx(spread)
    assert (second.path, second.label) == (runs[1].path, "b")
    assert (second.x, second.low) == ((1, 2, 3, 4), ())
    assert folded(runs, "none") == folded([], "loss") == []


def test_epochs_and_final_results_are_not_mixed(make_run):
    def read(name, seed, final):
        run = make_run(name, recipe=RECIPE.format("mtard", seed))
        if final:
            run.evaluation_path.write_text(json.dumps(record()))
        return ComparedReader(run).read()

    runs = [read("a", 0, True), read("b", 1, True), read("c", 2, False)]
    table = figures_table(runs, runs[0].path)

    assert [row[4] for row in table.rows[:3]] == ["+0.00", "+0.00", "-"]
    assert table.rows[3][:4] == ["mtard, mean of 2", "75.00", "50.00", "62.50"]
    assert table.rows[3][table.header.index("of")] == "test"
    assert "cannot be compared" in table.notes[0]
    # One of each kind has no mean.
    assert len(figures_table(runs[1:], None).rows) == 2
    assert not figures_table(runs[:2], None).notes


def test_only_settings_that_differ_are_shown(compared):
    runs = [compared("a", "mtard", 0), compared("b", "rslad", 0)]
    table = settings_table(runs)

    assert table.header == ["setting", "a", "b"]
    assert table.rows == [["method.name", "mtard", "rslad"]]
    assert settings_table(runs[:1]).rows == []


def test_both_spellings_of_a_method_are_one_setting(compared):
    runs = [compared("old", "b-mtard", 0), compared("new", "b_mtard", 0)]

    assert settings_table(runs).rows == []
    assert [run.summary.method for run in runs] == ["b-mtard", "b-mtard"]


RADIUS = RECIPE + "[attack]\nepsilon = {}\n"


def test_radii_are_told_apart(make_run):
    def read(name, seed, epsilon):
        recipe = RADIUS.format("mtard", seed, epsilon)
        return ComparedReader(make_run(name, recipe=recipe)).read()

    runs = [read("a", 0, 0.1), read("b", 1, 0.1), read("c", 0, 0.2), read("d", 1, 0.2)]
    table = figures_table(runs, runs[0].path)
    radius = table.header.index("radius")

    assert [row[radius] for row in table.rows[:4]] == ["0.1", "0.1", "0.2", "0.2"]
    assert [row[4:7] for row in table.rows[1:3]] == [
        ["+0.00", "+0.00", "+0.00"],
        ["+0.00", "-", "-"],
    ]
    assert [row[0] for row in table.rows[4:]] == [
        *("mtard, attack.epsilon=0.1, mean of 2", "mtard, attack.epsilon=0.1, ± of 2"),
        *("mtard, attack.epsilon=0.2, mean of 2", "mtard, attack.epsilon=0.2, ± of 2"),
    ]
    assert {len(row) for row in table.rows} == {len(table.header)}
    assert "radius" not in figures_table(runs[:2], None).header
