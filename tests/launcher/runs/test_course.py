from __future__ import annotations

import pytest
from launcher.runs.course import Course


def course(*events):
    found = Course()
    for event in events:
        found.add(event)
    return found


def epoch(number, score, phase="student"):
    metrics = {"clean_accuracy": 0.9, "robust_accuracy": 0.5}
    return {
        "event": "epoch",
        "phase": phase,
        "epoch": number,
        "metrics": {**metrics, "w_robust_accuracy": score},
    }


def begin(phase, epochs):
    return {"event": "phase_started", "phase": phase, "epochs": epochs}


def test_the_best_epoch_is_the_first_of_the_highest():
    found = course(epoch(1, 0.3), epoch(2, 0.7), epoch(3, 0.7), epoch(4, None))

    best = found.best("student")
    assert (best.epoch, best.w_robust, best.clean, best.robust) == (2, 0.7, 0.9, 0.5)
    assert found.best("nat_teacher") is None


def test_a_resumed_run_forgets_the_epochs_that_it_does_again():
    found = course(epoch(1, 0.5), epoch(2, 0.6), epoch(3, 0.9), epoch(2, 0.55))

    assert found.best("student").epoch == 2
    assert found.best("student").w_robust == 0.55
    assert (
        course(epoch(1, 0.5), epoch(2, 0.9), epoch(2, 0.1)).best("student").epoch == 1
    )


def test_progress_names_the_phases_but_the_students():
    found = course(begin("nat_teacher", 20), epoch(3, 0.1, "nat_teacher"))
    assert (found.progress(found.phase), found.done(found.phase)) == ("nat 3/20", 0.15)

    found.add(begin("student", 40))
    found.add(epoch(40, 0.1))
    assert (found.progress("student"), found.done("student")) == ("40/40", 1.0)

    found.add(begin("evaluation", None))
    assert found.progress(found.phase) == "judging"
    assert found.done(found.phase) is None


def test_time_counts_over_restarts_and_never_backwards():
    def at(kind, time):
        return {"event": kind, "time": time}

    found = course(at("run_started", 100), at("epoch", 150), at("run_stopped", 160))
    assert found.seconds() == 60

    found.add(at("run_started", 1000))
    assert found.seconds(now=1005) == 65
    assert found.seconds(now=0) == 60

    found.add(at("run_failed", 10))
    assert found.seconds() == 60


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"event": None, "time": "now", "phase": []},
        {"event": "epoch", "phase": {}, "epoch": "1", "metrics": {}},
        {"event": "epoch", "epoch": True, "metrics": {"w_robust_accuracy": 1}},
        {"event": "epoch", "phase": "student", "epoch": 10**400, "metrics": None},
        {"event": "epoch", "phase": "student", "epoch": -1, "metrics": [1]},
        {"event": "phase_started", "phase": 3, "epochs": 10**400},
        {"event": "run_started", "time": 10**400},
        {"event": "run_failed", "reason": {"a": 1}},
    ],
)
def test_events_of_any_shape_are_taken(event):
    found = course(event, epoch(1, 0.5), event)

    assert found.best("student").w_robust == 0.5
    assert found.progress(found.phase) is not None
    assert found.seconds(1e12) >= 0
