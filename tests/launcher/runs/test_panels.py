"""Whatever a file of events holds, there are curves to draw."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from kmtard.runs import EventWriter, Run
from kmtard.runs.history import History
from launcher.runs.panels import (
    PANELS,
    can_be_smoothed,
    curves,
    levels,
    marks,
    panels_of,
    placed,
    usage_curves,
)
from tests.kmtard.runs.test_history_fuzz import lines


@given(content=st.lists(lines, max_size=25).map(b"\n".join))
@settings(deadline=None)
def test_any_events_have_curves(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder))
        run.events_path.write_bytes(content + b"\n")
        history = History(run)
        history.poll()
    levels(history, ())
    for phase in history.phases.values():
        marks(phase)
        for panel in panels_of(phase, history.usage):
            found = curves(panel, phase, (), 0.9)
            for axis in ("step", "time"):
                for curve in placed(found, marks(phase), phase, axis)[0]:
                    assert len(curve.x) == len(curve.y)
                    assert list(curve.x) == sorted(curve.x)
            for curve in [*found, *usage_curves(panel, history.usage, ())[0]]:
                assert len(curve.x) == len(curve.y)
                assert list(curve.x) == sorted(set(curve.x))


def test_levels_are_the_teachers_aims(make_run) -> None:
    history = History(make_run())
    history.poll()

    found = [(label, round(height, 9)) for label, height, _ in levels(history, ())]
    assert found == [("clean teacher", 95.0), ("robust teacher", 60.0)]
    assert levels(history, {"clean_accuracy", "robust_accuracy"}) == []


def test_what_is_set_exactly_is_not_smoothed(make_run) -> None:
    history = History(make_run())
    history.poll()

    phase = history.phases["student"]
    smoothed = {
        panel.name
        for panel in panels_of(phase, history.usage)
        if any(curve.faint for curve in curves(panel, phase, (), 0.9))
    }
    assert smoothed == {"accuracy", "losses", "relative", "entropies"}


def test_a_metric_that_nobody_knows_is_smoothed_unless_it_is_set() -> None:
    noisy = ("loss", "w_robust_accuracy", "images_per_second", "new_metric")
    exact = ("learning_rate", "nat_weight", "adv_temperature", "class_weights_min")

    assert all(map(can_be_smoothed, noisy))
    assert not any(map(can_be_smoothed, exact))


def test_a_teachers_level_says_that_it_is_on_other_images(make_run) -> None:
    run = make_run(phases=["student"], state="running")
    EventWriter(run.events_path).write(
        "evaluation",
        phase="evaluation",
        metrics={
            "role": "adv_teacher",
            "clean_accuracy": 0.9,
            "robust_accuracy": {"pgd_trades": 0.5},
            "w_robust_accuracy": {"pgd_trades": 0.7},
        },
    )
    history = History(run)
    history.poll()

    assert [label for label, _, _ in levels(history, ())] == ["robust teacher, test"]
    assert "robust teacher, test" in history.accuracy_columns("student")


def test_the_machine_has_a_panel_even_if_it_was_not_measured(make_run) -> None:
    run = make_run(state="running", done=1)
    history = History(run)
    history.poll()
    assert [each.name for each in panels_of(None, history.usage)] == [
        "accuracy",
        "system",
    ]
    measure = {"cpu": 50.0, "memory": 2**31, "gpu": 80.0, "gpu_power": 200.0}
    EventWriter(run.events_path).write("system", seconds=10, metrics=measure)
    history.poll()
    *_, memory, power = panels_of(None, history.usage)
    assert (memory.name, power.name) == ("memory", "power")
    [curve], axis = usage_curves(memory, history.usage, ())
    assert (curve.label, curve.y, axis.name) == ("this run", [2.0], "seconds")
    assert usage_curves(memory, history.usage, {"memory"})[0] == []


def test_places_on_another_axis(make_run) -> None:
    history = History(make_run())
    history.poll()
    phase = history.phases["student"]
    series, lines, axis = placed(
        [curves(PANELS[0], phase, (), 0)[0]], [("best epoch 4", 4)], phase, "step"
    )

    assert series[0].x == [10, 20, 30, 40]
    assert (lines, axis.name) == ([("best epoch 4", 40.0)], "step")
