"""One phase of a run: its metrics over epochs, however its events look."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from launcher.runs.documents import number, table

MOST_POINTS = 20_000
"""Points of a series that are kept; of more, every second one goes."""

MOST_METRICS = 64
RECENT = 20  # epochs whose durations tell that of the next
MANY = 10**9  # epochs or steps: more are no such number


@dataclass
class Series:
    """One metric over epochs.

    Attributes:
        x: epochs, increasing.
        y: None where the number was not finite.
    """

    x: list[float] = field(default_factory=list)
    y: list[float | None] = field(default_factory=list)

    def cut(self, x: float) -> None:
        """Drop the points at `x` and after it."""
        if self.x and self.x[-1] >= x:
            place = bisect_left(self.x, x)
            del self.x[place:], self.y[place:]

    def add(self, x: float, y: float | None) -> None:
        """Append a point, and thin out what is too much."""
        self.x.append(x)
        self.y.append(y)
        if len(self.x) > MOST_POINTS:
            del self.x[1::2], self.y[1::2]

    @property
    def last(self) -> float | None:
        """The newest number, None before the first."""
        return self.y[-1] if self.y else None


@dataclass
class Phase:
    """A training within a run.

    Attributes:
        epochs: planned; None if not known, as `steps` of an epoch.
        epoch: epochs done.
        step: batches done of the epoch that goes on.
        metrics: name -> one point an epoch.
        rate: batches a second, of the epoch that goes on.
    """

    name: str
    epochs: int | None = None
    steps: int | None = None
    epoch: int = 0
    step: int = 0
    metrics: dict[str, Series] = field(default_factory=dict)
    rate: float | None = None
    _durations: list[float] = field(default_factory=list)
    _records: Series = field(default_factory=Series)
    _is_partial: bool = False

    @property
    def best(self) -> tuple[int, float] | None:
        """The epoch of the highest W-Robust accuracy, the first of equals, and this."""
        score = self._records.last
        return None if score is None else (int(self._records.x[-1]), score)

    @property
    def epoch_seconds(self) -> float | None:
        """How long an epoch lasts by the last ones; None before the first."""
        if not self._durations:
            return None
        return sum(self._durations) / len(self._durations)

    def begin(self, event: Mapping[str, Any]) -> None:
        """Take in a `phase_started` event, the first or one of a resumed run."""
        self.epochs = whole(event.get("epochs")) or self.epochs
        done = whole(event.get("step")) or 0
        self.step, self.rate = 0, None
        self._is_partial = done % self.steps > 0 if self.steps else done > 0

    def follow(self, event: Mapping[str, Any]) -> None:
        """Take in a `step` event."""
        self.step = whole(event.get("step")) or 0
        self.steps = whole(event.get("steps")) or self.steps
        self.rate = _positive(event.get("steps_per_second"))
        self.epoch = max(0, (whole(event.get("epoch")) or self.epoch + 1) - 1)

    def finish_epoch(self, event: Mapping[str, Any]) -> None:
        """Take in an `epoch` event; of a repeated epoch the later one counts."""
        epoch = whole(event.get("epoch"))
        if not epoch:
            return
        self.epoch, self.step = epoch, 0
        if total := whole(event.get("step")):
            self.steps = max(1, total // epoch)
        self._time(_positive(event.get("seconds")))
        # Resumed from an earlier epoch, a run has not done those after it.
        for series in (*self.metrics.values(), self._records):
            series.cut(epoch)
        metrics = table(event, "metrics")
        for name, value in islice(metrics.items(), MOST_METRICS):
            if value is None or isinstance(value, int | float):
                self._put(str(name), epoch, number(value))
        score = number(metrics.get("w_robust_accuracy"))
        best = self._records.last
        if score is not None and (best is None or score > best):
            self._records.add(epoch, score)

    def _put(self, name: str, epoch: int, value: float | None) -> None:
        if name in self.metrics or len(self.metrics) < MOST_METRICS:
            self.metrics.setdefault(name, Series()).add(epoch, value)

    def _time(self, seconds: float | None) -> None:
        if seconds is not None and not self._is_partial:
            self._durations = [*self._durations[1 - RECENT :], seconds]
        self._is_partial = False

    @property
    def epoch_fraction(self) -> float:
        """Share of the epoch that goes on, 0 to 1."""
        return min(1.0, self.step / self.steps) if self.steps else 0.0

    @property
    def done(self) -> float:
        """Epochs done, with the part of the one that goes on."""
        done = self.epoch + self.epoch_fraction
        return min(done, self.epochs) if self.epochs else done

    @property
    def seconds_left(self) -> float | None:
        """Time until its last epoch ends; None where nothing tells."""
        if not self.epochs:
            return None
        seconds = self.epoch_seconds
        if seconds is None and self.rate and self.steps:
            seconds = self.steps / self.rate
        return None if seconds is None else (self.epochs - self.done) * seconds


def whole(value: Any) -> int | None:
    """Return a number of epochs or steps, None for anything else."""
    valid = isinstance(value, int) and not isinstance(value, bool)
    return value if valid and 0 <= value < MANY else None


def _positive(value: Any) -> float | None:
    found = number(value)
    return found if found is not None and 0 < found < MANY else None
