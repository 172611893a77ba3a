"""The events of a training: which are written, and what they say."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kmtard.training.callbacks import EventLog

pytestmark = pytest.mark.once("torch")

STEPS = 10
CLOCK = "kmtard.training.callbacks.event_log.time"


class Writer:
    """Keeps the events instead of writing them."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def write(self, event: str, /, **fields: Any) -> None:
        self.events.append({"event": event, **fields})


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(CLOCK, SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def log(steps_taken: int = 0, **class_state: Any) -> tuple[EventLog, Writer]:
    callback = EventLog(writer := Writer(), "student", STEPS, interval=5.0)
    callback.set_model(
        SimpleNamespace(
            steps_taken=SimpleNamespace(value=steps_taken),
            class_state=class_state,
            **{name: SimpleNamespace(value=v) for name, v in class_state.items()},
            optimizer=SimpleNamespace(learning_rate=0.1),
        )
    )
    return callback, writer


def test_step_events_come_no_more_often_than_the_interval(
    clock: SimpleNamespace,
) -> None:
    callback, writer = log()
    callback.on_epoch_begin(0)
    for batch in range(8):
        clock.now += 2
        callback.on_train_batch_end(batch, {"loss": batch})
    # After 6 and 12 seconds; nothing at 2, 4, 8, 10, 14 and 16.
    assert [event["step"] for event in writer.events] == [3, 6]
    assert writer.events[0] == {
        "event": "step",
        "phase": "student",
        "epoch": 1,
        "step": 3,
        "steps": STEPS,
        "steps_per_second": 0.5,
        "metrics": {"loss": 2},
    }


def test_steps_of_a_resumed_epoch_are_counted_from_its_start(
    clock: SimpleNamespace,
) -> None:
    callback, writer = log(steps_taken=2 * STEPS + 4)
    callback.on_epoch_begin(2)
    clock.now += 10
    callback.on_train_batch_end(0, {})
    [event] = writer.events
    assert (event["epoch"], event["step"]) == (3, 5)
    assert event["steps_per_second"] is None


def test_speeds_leave_out_the_time_to_compile(clock: SimpleNamespace) -> None:
    callback, writer = log(steps_taken=STEPS)
    for epoch, (compiling, testing) in enumerate([(60.0, 30.0), (0.0, 0.0)]):
        callback.on_epoch_begin(epoch)
        # The last batch is smaller, so it is compiled as the first one is.
        for batch in range(STEPS):
            clock.now += 0.1 + (compiling if batch in (0, STEPS - 1) else 0)
            callback.on_train_batch_end(batch, {})
        callback.on_test_begin()
        for batch in range(4):
            clock.now += 0.5 + (testing if batch in (0, 3) else 0)
            callback.on_test_batch_end(batch, {})
        callback.on_epoch_end(epoch, {})
    step, last, first, second = writer.events
    # The first batch alone tells no speed.
    assert (step["step"], step["steps_per_second"]) == (1, None)
    assert (last["step"], last["steps_per_second"]) == (STEPS, pytest.approx(10))
    assert first["steps_per_second"] == pytest.approx(10)
    assert first["compile_seconds"] == pytest.approx(2 * 60 + 2 * 30)
    assert first["seconds"] - first["compile_seconds"] == pytest.approx(3)
    assert second["steps_per_second"] == pytest.approx(10)
    assert second["seconds"] == pytest.approx(3) and "compile_seconds" not in second


def test_batches_may_be_told_in_any_order(clock: SimpleNamespace) -> None:
    callback, writer = log(steps_taken=STEPS)
    callback.on_epoch_begin(0)
    for batch in (1, 0, 3, 2, 5, 4, 6, 9, 8, 7):
        clock.now = 100.0 + batch
        callback.on_train_batch_end(batch, {})
    callback.on_epoch_end(0, {})
    assert writer.events[-1]["steps_per_second"] == pytest.approx(1)


def test_epoch_event_has_the_names_of_the_evaluation(clock: SimpleNamespace) -> None:
    callback, writer = log(steps_taken=STEPS)
    callback.on_epoch_begin(0)
    clock.now += 7
    logs = {"loss": 2.0, "clean_accuracy": 0.5, "val_clean_accuracy": 0.25}
    callback.on_epoch_end(0, logs)
    assert writer.events == [
        {
            "event": "epoch",
            "phase": "student",
            "epoch": 1,
            "step": STEPS,
            "seconds": 7.0,
            "metrics": {
                "learning_rate": 0.1,
                "loss": 2.0,
                "train_clean_accuracy": 0.5,
                "clean_accuracy": 0.25,
            },
        }
    ]


def test_epoch_event_has_the_state_of_each_class() -> None:
    callback, writer = log(STEPS, class_weights=np.array([0.5, 2.5], "float32"))
    callback.on_epoch_begin(0)
    callback.on_epoch_end(0, {"loss": 2.0, "class_weights_min": 0.5})
    [event] = writer.events
    assert event["classes"] == {"class_weights": [0.5, 2.5]}
    assert event["metrics"]["class_weights_min"] == 0.5


def test_epoch_that_a_stop_cut_short_is_not_told() -> None:
    callback, writer = log(steps_taken=STEPS + 3)
    callback.on_epoch_begin(1)
    callback.on_epoch_end(1, {"loss": 2.0})
    assert writer.events == []
