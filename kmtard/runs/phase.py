"""One phase of a run: its metrics per epoch. Damaged values in events are skipped."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, islice
from typing import Any

from kmtard.runs.documents import number, positive, table, whole

MOST_POINTS = 20_000
"""Most points kept in a series. Beyond that, every second point is dropped."""

MOST_METRICS = 64
TREND_POINTS = 128
RECENT = 20  # latest epochs, whose mean duration predicts that of the next one

SELECTION = "pgd_trades"
"""The attack for the robust accuracy of an epoch, by which the best is selected."""

SPEED = "images_per_second"
"""Metric of an epoch that is computed from its batches per second."""

ACCURACIES = ("clean_accuracy", "robust_accuracy", "w_robust_accuracy")


# A list of runs has many, and most of their memory would be that of their `__dict__`.
@dataclass(frozen=True, slots=True)
class Accuracies:
    """Accuracies in [0, 1] from one evaluation.

    Attributes:
        clean: clean accuracy; None if unknown.
        robust: accuracy under `attack`; None if unknown.
        w_robust: mean of clean and robust accuracy.
        epoch: the epoch, if the accuracies were measured on the images that select the
            best epoch; 0 for the best epoch of an earlier run, whose number is unknown;
            None for the selected network on the test images.
        attack: name of the attack; the one used after each epoch if left out.
        epsilon: radius of the attack; None if it is the recipe's.
    """

    clean: float | None
    robust: float | None
    w_robust: float
    epoch: int | None = None
    attack: str = SELECTION
    epsilon: float | None = None

    @property
    def is_final(self) -> bool:
        """Whether the accuracies are those of the final evaluation."""
        return self.epoch is None

    @property
    def origin(self) -> str:
        """Where the accuracies come from: `test`, or `epoch` and its number."""
        if self.epoch is None:
            return "test"
        return f"epoch {self.epoch}" if self.epoch else "best epoch"

    @property
    def metrics(self) -> dict[str, float | None]:
        """The accuracies by the names of their metrics."""
        return dict(
            zip(ACCURACIES, (self.clean, self.robust, self.w_robust), strict=True)
        )


@dataclass
class Series:
    """One metric over the epochs.

    Attributes:
        x: epochs, increasing.
        y: one value per epoch; None if it was not finite.
        most: largest number of points.
    """

    x: list[float] = field(default_factory=list)
    y: list[float | None] = field(default_factory=list)
    most: int = MOST_POINTS

    def cut(self, x: float) -> None:
        """Drop the points at `x` and after it."""
        if self.x and self.x[-1] >= x:
            place = bisect_left(self.x, x)
            del self.x[place:], self.y[place:]

    def add(self, x: float, y: float | None) -> None:
        """Append a point. If there are too many, drop every second one."""
        self.x.append(x)
        self.y.append(y)
        if len(self.x) > self.most:
            del self.x[1::2], self.y[1::2]

    @property
    def last(self) -> float | None:
        """The newest value; None before the first one."""
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


def interpolated(
    epochs: Sequence[float], places: Sequence[float | None], at: Sequence[float]
) -> list[float]:
    """Return the places of some epochs on another axis, never decreasing.

    Args:
        epochs: those with a known place, increasing.
        places: one per known epoch; those that are None are left out.
        at: epochs that are asked for. Those before the first and after the last known
            epoch are at its place.

    Returns:
        One place per epoch; none if no place is known.

    Example:
        >>> interpolated([1, 3], [10, 30], [1, 2, 3])
        [10.0, 20.0, 30.0]
    """
    known = [(x, y) for x, y in zip(epochs, places, strict=True) if y is not None]
    if not known:
        return []
    xs = [x for x, _ in known]
    # Damaged events may be in any order.
    ys = list(accumulate((y for _, y in known), max))
    found = []
    for x in at:
        place = min(max(bisect_left(xs, x), 1), len(xs) - 1)
        if len(xs) == 1 or x <= xs[0] or x >= xs[-1]:
            found.append(float(ys[0] if x <= xs[0] else ys[-1]))
            continue
        share = (x - xs[place - 1]) / (xs[place] - xs[place - 1])
        found.append(ys[place - 1] + share * (ys[place] - ys[place - 1]))
    return found


@dataclass
class Phase:
    """The training of one network within a run.

    Attributes:
        name: role of the network.
        epochs: number of planned epochs; None if unknown.
        steps: number of batches per epoch; None if unknown.
        epoch: number of completed epochs.
        step: number of completed batches in the current epoch.
        metrics: name -> one point per epoch; empty unless `in_detail`.
        rate: batches per second in the current epoch, or in the last one; None if
            unknown.
        in_detail: whether to keep `metrics`.
        batch_size: images per batch; None if unknown.
        is_fresh: whether the phase has begun, or was resumed, and no batch is known to
            have ended since.
        compile_seconds: time to compile in the last process; 0 if unknown.
        trend: W-Robust accuracy over the epochs, in few points.
        places: `step` -> number of batches that had been trained at the end of each
            epoch; `time` -> working seconds since the phase began. Empty unless
            `in_detail`.
    """

    name: str
    epochs: int | None = None
    steps: int | None = None
    epoch: int = 0
    step: int = 0
    metrics: dict[str, Series] = field(default_factory=dict)
    rate: float | None = None
    in_detail: bool = True
    batch_size: int | None = None
    is_fresh: bool = False
    compile_seconds: float = 0.0
    trend: Series = field(default_factory=lambda: Series(most=TREND_POINTS))
    places: dict[str, Series] = field(default_factory=dict)
    _begun: float | None = None
    _durations: list[float] = field(default_factory=list)
    _first_seconds: float | None = None
    _records: list[Accuracies] = field(default_factory=list)
    _is_partial: bool = False
    _is_first: bool = False

    @property
    def best(self) -> Accuracies | None:
        """The accuracies of the best epoch, the one with the best W-Robust accuracy.

        Of several equally good epochs it is the first. None before the first epoch.
        """
        return self._records[-1] if self._records else None

    @property
    def epoch_seconds(self) -> float | None:
        """Mean duration of the latest epochs in seconds; None before the first.

        The time of the compiler does not count. Where it is unknown, the first epoch of
        a process counts only while there is no other.
        """
        if not self._durations:
            return self._first_seconds
        return sum(self._durations) / len(self._durations)

    def along(self, axis: str, epochs: Sequence[float]) -> list[float]:
        """Return where epochs are on an axis: themselves on one that is not known.

        Args:
            axis: `epoch`, or a key of `places`.
            epochs: increasing.
        """
        series = self.places.get(axis)
        return (
            list(epochs) if series is None else interpolated(series.x, series.y, epochs)
        )

    def begin(self, event: Mapping[str, Any], worked: float = 0.0) -> None:
        """Add a `phase_started` event, the first one or that of a resumed run.

        Args:
            event: the event.
            worked: working time of the run until then, in seconds.
        """
        self._begun = worked if self._begun is None else self._begun
        self.epochs = whole(event.get("epochs")) or self.epochs
        done = whole(event.get("step")) or 0
        self.steps = whole(event.get("steps")) or self.steps
        self.step, self.rate = 0, None
        self.is_fresh = self._is_first = True
        self._is_partial = done % self.steps > 0 if self.steps else done > 0

    def follow(self, event: Mapping[str, Any]) -> None:
        """Add a `step` event."""
        self.is_fresh = False
        self.step = whole(event.get("step")) or 0
        self.steps = whole(event.get("steps")) or self.steps
        self.rate = positive(event.get("steps_per_second")) or self.rate
        self.epoch = max(0, (whole(event.get("epoch")) or self.epoch + 1) - 1)

    def finish_epoch(self, event: Mapping[str, Any], worked: float = 0.0) -> None:
        """Add an `epoch` event. If an epoch was repeated, the later event counts.

        Args:
            event: the event.
            worked: working time of the run until then, in seconds.
        """
        epoch = whole(event.get("epoch"))
        if not epoch:
            return
        self.epoch, self.step = epoch, 0
        if total := whole(event.get("step")):
            self.steps = max(1, total // epoch)
        self._time(event)
        self.is_fresh = False
        self.rate = positive(event.get("steps_per_second")) or self.rate
        metrics = table(event, "metrics")
        if self.in_detail:
            self._extend(epoch, metrics, event)
            seconds = worked - (self._begun or 0.0)
            for name, place in (("step", total), ("time", seconds)):
                series = self.places.setdefault(name, Series())
                series.cut(epoch)
                if place is not None:
                    series.add(epoch, place)
        self._record(epoch, metrics)

    def _extend(
        self, epoch: int, metrics: Mapping[str, Any], event: Mapping[str, Any]
    ) -> None:
        # A run that resumed from an earlier epoch repeats the epochs after it.
        for series in self.metrics.values():
            series.cut(epoch)
        for name, value in islice(metrics.items(), MOST_METRICS):
            if value is None or isinstance(value, int | float):
                self._put(str(name), epoch, number(value))
        if positive(event.get("steps_per_second")) and self.images_per_second:
            self._put(SPEED, epoch, self.images_per_second)

    def _record(self, epoch: int, metrics: Mapping[str, Any]) -> None:
        records = self._records
        while records and (records[-1].epoch or 0) >= epoch:
            records.pop()
        clean, robust, best = (number(metrics.get(name)) for name in ACCURACIES)
        self.trend.cut(epoch)
        if best is not None:
            self.trend.add(epoch, best)
        if best is not None and (not records or best > records[-1].w_robust):
            records.append(Accuracies(clean, robust, best, epoch))
            if len(records) > MOST_POINTS:
                del records[1::2]

    def _put(self, name: str, epoch: int, value: float | None) -> None:
        if name in self.metrics or len(self.metrics) < MOST_METRICS:
            self.metrics.setdefault(name, Series()).add(epoch, value)

    def _time(self, event: Mapping[str, Any]) -> None:
        seconds = positive(event.get("seconds"))
        compiled = number(event.get("compile_seconds"))
        is_partial, self._is_partial = self._is_partial, False
        if seconds is None or is_partial:
            self._is_first = False
            return
        if self._is_first and compiled is None:
            self._first_seconds = seconds
        else:
            self.compile_seconds = max(0.0, compiled or self.compile_seconds)
            seconds = max(0.0, seconds - max(0.0, compiled or 0.0))
            self._durations = [*self._durations[1 - RECENT :], seconds]
        self._is_first = False

    @property
    def images_per_second(self) -> float | None:
        """Training speed, without the first batch of an epoch; None if unknown."""
        if self.rate is None or self.batch_size is None:
            return None
        return self.rate * self.batch_size

    @property
    def epoch_fraction(self) -> float:
        """Share of the current epoch that is done, in [0, 1]."""
        return min(1.0, self.step / self.steps) if self.steps else 0.0

    @property
    def done(self) -> float:
        """Completed epochs plus the completed part of the current one."""
        done = self.epoch + self.epoch_fraction
        return min(done, self.epochs) if self.epochs else done

    @property
    def share_done(self) -> float | None:
        """Share of the epochs that are completed; None if their number is unknown."""
        return min(1.0, self.epoch / self.epochs) if self.epochs else None

    @property
    def seconds_left(self) -> float | None:
        """Estimated seconds until the last epoch ends; None if unknown."""
        if not self.epochs:
            return None
        seconds = self.epoch_seconds
        if seconds is None and self.rate and self.steps:
            seconds = self.steps / self.rate
        return None if seconds is None else (self.epochs - self.done) * seconds
