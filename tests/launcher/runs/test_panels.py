"""Whatever a file of events holds, there are curves to draw."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from kmtard.runs import Run
from kmtard.runs.history import History
from launcher.runs.panels import curves, levels, marks, panels_of
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
        for panel in panels_of(phase):
            for curve in curves(panel, phase, (), 0.9):
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
        for panel in panels_of(phase)
        if any(curve.faint for curve in curves(panel, phase, (), 0.9))
    }
    assert smoothed == {"accuracy", "losses", "relative", "entropies"}
