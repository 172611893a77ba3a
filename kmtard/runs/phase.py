"""One phase of a run: its metrics over the epochs, whatever its events look like."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from kmtard.runs.documents import number, positive, table, whole

MOST_POINTS = 20_000
"""Points of a series that are kept; of more, every second one is dropped."""

MOST_METRICS = 64
RECENT = 20  # epochs, whose durations predict the next one

SELECTION = "pgd_trades"
"""The attack that the robust accuracy of an epoch is under; it selects the best."""

ACCURACIES = ("clean_accuracy", "robust_accuracy", "w_robust_accuracy")


@dataclass(frozen=True)
class Accuracies:
    """Accuracies in [0, 1] that were found together.

    Attributes:
        clean: None where it is not known, as `robust`.
        robust: accuracy under `attack`.
        w_robust: half clean, half robust.
        epoch: the epoch that had them, on the images that select the best epoch; None
            for the chosen network on the test images.
        attack: name of the attack; that of epochs if left out.
        epsilon: its radius; None if it is that of the recipe.
    """

    clean: float | None
    robust: float | None
    w_robust: float
    epoch: int | None = None
    attack: str = SELECTION
    epsilon: float | None = None

    @property
    def origin(self) -> str:
        """Where the figures come from, in a word or two."""
        return "test" if self.epoch is None else f"epoch {self.epoch}"

    @property
    def metrics(self) -> dict[str, float | None]:
        """The accuracies by the names of their metrics."""
        return dict(
            zip(ACCURACIES, (self.clean, self.robust, self.w_robust), strict=True)
        )


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
        """The newest value, None before the first."""
        return self.y[-1] if self.y else None

    def smoothed(self, strength: float) -> list[float | None]:
        """Return the exponential averages of `y`, not biased toward 0 at the start.

        Args:
            strength: weight of the past, in [0, 1). A missing value stays missing.

        Example:
            >>> Series([1, 2, 3], [0.0, None, 1.0]).smoothed(0.5)
            [0.0, None, 0.6666666666666666]
        """
        average, weight = 0.0, 0.0
        result: list[float | None] = []
        for value in self.y:
            if value is not None:
                average = strength * average + (1 - strength) * value
                weight = strength * weight + (1 - strength)
            result.append(None if value is None else average / weight)
        return result


@dataclass
class Phase:
    """A training within a run.

    Attributes:
        epochs: planned; None if not known, as `steps` of an epoch.
        epoch: epochs done.
        step: batches done of the epoch that goes on.
        metrics: name -> one point per epoch; empty without detail.
        rate: batches a second, of the epoch that goes on.
        in_detail: whether `metrics` is kept.
    """

    name: str
    epochs: int | None = None
    steps: int | None = None
    epoch: int = 0
    step: int = 0
    metrics: dict[str, Series] = field(default_factory=dict)
    rate: float | None = None
    in_detail: bool = True
    _durations: list[float] = field(default_factory=list)
    _records: list[Accuracies] = field(default_factory=list)
    _is_partial: bool = False

    @property
    def best(self) -> Accuracies | None:
        """The accuracies of the highest W-Robust accuracy, the first of equal ones."""
        return self._records[-1] if self._records else None

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
        self.rate = positive(event.get("steps_per_second"))
        self.epoch = max(0, (whole(event.get("epoch")) or self.epoch + 1) - 1)

    def finish_epoch(self, event: Mapping[str, Any]) -> None:
        """Take in an `epoch` event; of a repeated epoch the later one counts."""
        epoch = whole(event.get("epoch"))
        if not epoch:
            return
        self.epoch, self.step = epoch, 0
        if total := whole(event.get("step")):
            self.steps = max(1, total // epoch)
        self._time(positive(event.get("seconds")))
        metrics = table(event, "metrics")
        if self.in_detail:
            self._extend(epoch, metrics)
        self._record(epoch, metrics)

    def _extend(self, epoch: int, metrics: Mapping[str, Any]) -> None:
        # Resumed from an earlier epoch, a run has not done those after it.
        for series in self.metrics.values():
            series.cut(epoch)
        for name, value in islice(metrics.items(), MOST_METRICS):
            if value is None or isinstance(value, int | float):
                self._put(str(name), epoch, number(value))

    def _record(self, epoch: int, metrics: Mapping[str, Any]) -> None:
        records = self._records
        while records and (records[-1].epoch or 0) >= epoch:
            records.pop()
        clean, robust, best = (number(metrics.get(name)) for name in ACCURACIES)
        if best is not None and (not records or best > records[-1].w_robust):
            records.append(Accuracies(clean, robust, best, epoch))
            if len(records) > MOST_POINTS:
                del records[1::2]

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
    def share_done(self) -> float | None:
        """Share of the epochs that are complete; None if their number is unknown."""
        return min(1.0, self.epoch / self.epochs) if self.epochs else None

    @property
    def seconds_left(self) -> float | None:
        """Time until its last epoch ends; None where nothing tells."""
        if not self.epochs:
            return None
        seconds = self.epoch_seconds
        if seconds is None and self.rate and self.steps:
            seconds = self.steps / self.rate
        return None if seconds is None else (self.epochs - self.done) * seconds
