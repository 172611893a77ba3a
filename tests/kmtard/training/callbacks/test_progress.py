"""The progress of a training: a line per epoch, and a bar in a terminal."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from rich.progress import Progress as Bar

from kmtard.training.callbacks import Progress

pytestmark = pytest.mark.once("torch")

STEPS = 4


def progress(steps_taken: int, bar: Bar | None = None) -> tuple[Progress, list[str]]:
    lines: list[str] = []
    callback = Progress(bar, lines.append, "student", epochs=3, steps_per_epoch=STEPS)
    model = SimpleNamespace(steps_taken=SimpleNamespace(value=steps_taken))
    callback.set_model(model)
    return callback, lines


def test_line_of_an_evaluated_epoch() -> None:
    callback, lines = progress(2 * STEPS)
    logs = {"val_clean_accuracy": 0.5, "val_robust_accuracy": 0.25}
    callback.on_epoch_end(1, {"loss": 1.23456, "val_w_robust_accuracy": 0.375, **logs})
    assert lines == [
        "student  epoch   2/3  loss 1.2346  "
        "clean 50.00 %  robust 25.00 %  W-Robust 37.50 %"
    ]


def test_line_of_an_epoch_without_evaluation() -> None:
    callback, lines = progress(STEPS)
    callback.on_epoch_end(0, {"loss": 1.0})
    assert lines == ["student  epoch   1/3  loss 1.0000"]


def test_no_line_of_an_epoch_cut_short() -> None:
    callback, lines = progress(STEPS + 1)
    callback.on_epoch_end(1, {"loss": 1.0})
    assert lines == []


def test_bar_begins_where_a_resumed_run_goes_on_and_is_taken_away() -> None:
    bar = Bar(disable=True)
    callback, _ = progress(STEPS + 2, bar)
    callback.on_epoch_begin(1)
    callback.on_train_batch_begin(1)
    [task] = bar.tasks
    assert (task.completed, task.total) == (STEPS + 3, 3 * STEPS)
    assert task.description == "student, epoch 2/3"
    callback.close()
    assert bar.tasks == []


def test_nothing_is_touched_without_a_bar() -> None:
    callback, lines = progress(0)
    callback.on_epoch_begin(0)
    callback.on_train_batch_begin(0)
    callback.close()
    assert lines == []
