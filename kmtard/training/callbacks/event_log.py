"""Write the events of a training to the run's event file."""

from __future__ import annotations

import time
from typing import Any

import keras
from keras import ops

INTERVAL = 5.0
"""Default shortest time between two `step` events, in seconds."""


class EventLog(keras.callbacks.Callback):
    """Writes one `epoch` event per epoch, and a `step` event every few seconds.

    The metrics `clean_accuracy`, `robust_accuracy` and `w_robust_accuracy` in an event
    come from the evaluation. The averages over the training batches have the prefix
    `train_`. If the method has a state for each class, the epoch event also has
    `classes`: name -> one number per class.

    Speeds are measured without the first and the last batch of an epoch. The first one
    waits for the data and, in a new process, for the compiler. So does the last one if
    it is smaller. Their extra time is `compile_seconds` of the first epoch.

    Args:
        writer: a `kmtard.runs.events.EventWriter`, or another object with its `write`.
        phase: `nat_teacher`, `adv_teacher` or `student`.
        steps_per_epoch: batches in a complete epoch.
        interval: shortest time between two `step` events, in seconds.
    """

    # With this, Keras fetches the logs in a separate thread, and no step waits for it.
    async_safe = True

    def __init__(
        self, writer: Any, phase: str, steps_per_epoch: int, interval: float = INTERVAL
    ) -> None:
        super().__init__()
        self.writer = writer
        self.phase = phase
        self.steps_per_epoch = steps_per_epoch
        self.interval = interval
        self._epoch = 0
        self._first = 0
        self._began = self._written = time.monotonic()
        self._is_compiled = False
        self._training = _Clock()
        self._testing = _Clock()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Start the clock, and find the step at which a resumed epoch continues."""
        del logs
        self._epoch = epoch
        self._first = int(self.model.steps_taken.value) % self.steps_per_epoch
        self._began = self._written = time.monotonic()
        self._training.start(self._began)

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Start the clock of an evaluation."""
        del logs
        self._testing.start(time.monotonic())

    def on_test_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Note the time of a batch."""
        del logs
        self._testing.note(batch, time.monotonic())

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Write a `step` event if the last one was written long enough ago."""
        now = time.monotonic()
        self._training.note(batch, now)
        if now - self._written < self.interval:
            return
        self._written = now
        self.writer.write(
            "step",
            phase=self.phase,
            epoch=self._epoch + 1,
            step=self._first + batch + 1,
            steps=self.steps_per_epoch,
            steps_per_second=self._training.rate(
                is_over=self._first + batch + 1 >= self.steps_per_epoch
            ),
            metrics=_metrics(logs or {}),
        )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write the `epoch` event, unless a stop cut the epoch short."""
        step = int(self.model.steps_taken.value)
        if step % self.steps_per_epoch:
            return
        learning_rate = float(self.model.optimizer.learning_rate)
        self.writer.write(
            "epoch",
            phase=self.phase,
            epoch=epoch + 1,
            step=step,
            seconds=time.monotonic() - self._began,
            metrics={"learning_rate": learning_rate, **_metrics(logs or {})},
            **self._speed(),
            **self._class_state(),
        )

    def _speed(self) -> dict[str, float]:
        rate, waits = self._training.rate(is_over=True), self._training.wait
        if rate is None or waits is None:
            # One or two batches do not tell how long they were compiled.
            return {}
        if self._is_compiled:
            return {"steps_per_second": rate}
        self._is_compiled = True
        seconds = waits + (self._testing.wait or 0.0)
        return {"steps_per_second": rate, "compile_seconds": seconds}

    def _class_state(self) -> dict[str, Any]:
        names = self.model.class_state
        values = {
            name: ops.convert_to_numpy(getattr(self.model, name).value).tolist()
            for name in names
        }
        return {"classes": values} if values else {}


class _Clock:
    """Times the batches of an epoch, apart from the first and the last one.

    Both may be compiled in their epoch: the last batch may be smaller than the others.
    """

    def __init__(self) -> None:
        self.start(0.0)

    def start(self, now: float) -> None:
        self._began = now
        self._ends: list[tuple[int, float]] = []

    def note(self, batch: int, now: float) -> None:
        # Keras may call from several threads, and then in any order.
        self._ends = sorted([*self._ends, (batch, now)])
        if len(self._ends) > 3:
            del self._ends[1]

    def rate(self, *, is_over: bool) -> float | None:
        """Return the batches per second; None if there were too few.

        Args:
            is_over: whether the last batch of the epoch has ended.
        """
        ends = self._ends[:-1] if is_over else self._ends
        if len(ends) < 2:
            return None
        (first, began), (last, ended) = ends[0], ends[-1]
        return (last - first) / (ended - began) if ended > began else None

    @property
    def wait(self) -> float | None:
        """Seconds by which the first and last batch were slower; None if unknown."""
        if (rate := self.rate(is_over=True)) is None:
            return None
        first = self._ends[0][1] - self._began
        last = self._ends[-1][1] - self._ends[-2][1]
        return max(0.0, first - 1 / rate) + max(0.0, last - 1 / rate)


def _metrics(logs: dict[str, Any]) -> dict[str, Any]:
    renamed = {}
    for name, value in logs.items():
        if name.endswith("_accuracy"):
            name = name[4:] if name.startswith("val_") else f"train_{name}"
        renamed[name] = value
    return renamed
