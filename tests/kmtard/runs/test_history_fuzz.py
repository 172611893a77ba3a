"""A file of events with any content is read, with the same result in any pieces."""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmtard.runs import EVENTS, Run
from kmtard.runs.history import History

pytestmark = pytest.mark.once("torch")

NAMES = ("epoch", "step", "steps", "epochs", "seconds", "time", "reason", "message")
PHASES = ("nat_teacher", "adv_teacher", "student", "evaluation")
METRICS = ("loss", "w_robust_accuracy", "clean_accuracy", "robust_accuracy")

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.just(10**400),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
small = st.integers(-2, 12) | st.floats(-1, 1e12)
metrics = st.dictionaries(st.sampled_from(METRICS), st.floats() | anything, max_size=4)
events = st.fixed_dictionaries(
    {"event": st.sampled_from(EVENTS) | anything},
    optional={
        "phase": st.sampled_from(PHASES) | anything,
        "metrics": metrics | anything,
        **{name: small | anything for name in NAMES},
    },
)
lines = (
    events.map(lambda event: json.dumps(event).encode())
    # A step that another step follows may be skipped. Steps have a separate test.
    .filter(lambda line: not line.startswith(b'{"event": "step"'))
    | st.binary(max_size=40)
    | anything.map(lambda value: json.dumps(value).encode())
)


def told(history: History) -> Any:
    phases = {
        name: (vars(phase) | {"best": phase.best})
        for name, phase in history.phases.items()
    }
    simple = "phase evaluations warnings reason method outcome started ended updated"
    return repr((phases, [getattr(history, name) for name in simple.split()]))


def check(history: History) -> None:
    progress = history.progress()
    for share in (progress.fraction, progress.epoch_fraction):
        assert share is None or 0 <= share <= 1
    assert progress.eta_seconds is None or progress.eta_seconds >= 0
    assert math.isfinite(history.seconds) and history.seconds >= 0
    assert history.worked(1e12) >= history.seconds
    assert history.short_progress() is not None
    for phase in history.phases.values():
        best = history.accuracies(phase.name)
        assert best is None or math.isfinite(best.w_robust)
        for series in phase.metrics.values():
            assert len(series.x) == len(series.y)
            assert series.x == sorted(set(series.x))
            assert all(y is None or math.isfinite(y) for y in series.y)


@given(
    content=st.lists(lines, max_size=25).map(b"\n".join),
    cuts=st.lists(st.floats(0, 1), max_size=4),
)
@settings(deadline=None, max_examples=300)
def test_any_file_is_read_the_same_in_pieces(content: bytes, cuts: list[float]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder))
        growing = History(run)
        for size in sorted(round(cut * len(content)) for cut in [*cuts, 1.0]):
            with run.events_path.open("ab") as file:
                file.write(content[file.tell() : size])
            growing.poll()
            check(growing)
        whole = History(run)
        whole.poll()
        assert told(growing) == told(whole)


@given(first=st.binary(max_size=200), second=st.binary(max_size=200))
@settings(deadline=None)
def test_a_file_that_is_replaced(first: bytes, second: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder))
        history = History(run)
        for content in (first, second):
            run.events_path.unlink(missing_ok=True)
            run.events_path.write_bytes(content)
            history.poll()
            check(history)
