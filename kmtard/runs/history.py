"""Aggregate a run's events into its history. Damaged events are skipped."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kmtard.registry.bounded import open_regular
from kmtard.registry.roles import LABELS, TEACHERS
from kmtard.runs.documents import number, read_toml, table
from kmtard.runs.events import EventStream
from kmtard.runs.folder import FINAL, Run
from kmtard.runs.formats import duration
from kmtard.runs.phase import ACCURACIES, Accuracies, Phase, Series
from kmtard.runs.results import headline_of
from kmtard.runs.usage import SYSTEM, Usage
from kmtard.runs.workload import Images, Workload

__all__ = ["ACCURACIES", "Accuracies", "History", "Phase", "Progress", "Series"]

SHORT_LABELS = {
    "student": "",
    "nat_teacher": "nat",
    "adv_teacher": "adv",
    "evaluation": "testing",
}
"""Phase -> its short name, for narrow columns."""

HEAD = 256  # first bytes of the file; if they change, the file was replaced
LONGEST_GAP = 86_400.0  # seconds between two events; longer gaps mean a changed clock
MOST_PHASES = 16
MOST_WARNINGS = 100
MOST_DEVICES = 16
LONGEST_TEXT = 2_000  # characters


@dataclass(frozen=True)
class Progress:
    """The progress of a run. Unknown values are None.

    Attributes:
        fraction: share of the run's work that is done, in [0, 1].
        epoch_fraction: share of the current epoch that is done, in [0, 1].
        eta_seconds: seconds until the last training and, if `covers_test`, the final
            evaluation ends.
        images_per_second: training speed, without the time of compilers and
            evaluations.
        text: the current phase and epoch, and the phases that follow.
        is_compiling: whether a phase has begun but trained no batch yet.
        is_rough: whether a part of `eta_seconds` is not measured but counted from the
            recipe.
        covers_test: whether `eta_seconds` includes the final evaluation.
    """

    fraction: float | None
    epoch_fraction: float | None
    eta_seconds: float | None
    images_per_second: float | None
    text: str
    is_compiling: bool = False
    is_rough: bool = False
    covers_test: bool = False

    @property
    def left(self) -> str:
        """The time left; empty if unknown.

        It is after a `~` if it is rough, and before a `+` without the final evaluation.
        """
        if self.eta_seconds is None:
            return ""
        text = duration(max(1.0, self.eta_seconds))
        return f"{'~' * self.is_rough}{text}{'' if self.covers_test else '+'}"

    def facts(self, *, is_running: bool) -> list[str]:
        """Return the progress in words.

        Args:
            is_running: whether the run is still running, so that it has a time left.
        """
        facts = [self.text]
        if is_running:
            if self.is_compiling:
                facts.append("compiling")
            if self.epoch_fraction:
                facts.append(f"{100 * self.epoch_fraction:.0f} % of the epoch")
            facts.append(ends_in(self.left))
            if self.images_per_second is not None:
                facts.append(f"{self.images_per_second:,.0f} images/s")
        return [fact for fact in facts if fact]


def ends_in(left: str) -> str:
    """Return a time left, as of `Progress.left`, in words; empty for an empty text.

    Example:
        >>> ends_in("~2h 05m"), ends_in("12s+")
        ('ends in about 2h 05m', 'training ends in 12s')
    """
    if not left:
        return ""
    verb = "training ends" if left.endswith("+") else "ends"
    return f"{verb} in {left.rstrip('+').replace('~', 'about ')}"


class History:
    """A run's events, aggregated. Its size does not grow with the number of events.

    Args:
        run: the run. Its files may be missing or damaged in any way.
        in_detail: whether to follow the steps of an epoch and keep each metric for
            every epoch. A list of runs does not need this.

    Attributes:
        phases: name -> phase, in the order in which they began.
        phase: name of the current phase, or of the last one.
        evaluations: role -> accuracies of the final evaluation.
        warnings: messages of the most recent warnings.
        reason: why the run failed; None if it did not.
        method: name of the method.
        outcome: `finished`, `stopped` or `failed`; None if the run is still running or
            ended without a final event.
        devices: descriptions of the devices that a finished run used.
        peak_memory: `host` and `device` -> largest memory of a finished run in bytes,
            if it was recorded.
        usage: what the run used of its machine, if it was measured.
        skipped: number of lines that are not events.
        error: why the events cannot be read; None if they can.
        started: time of the first event, in UNIX seconds.
        ended: time of the final event, in UNIX seconds.
        updated: time of the last event, in UNIX seconds.
        seconds: working time in total, over all restarts.
        changes: counter that increases when new events are read or `error` changes.
        lock: held while events are added. Hold it to read the attributes from a thread
            other than the one that calls `poll`.
    """

    def __init__(self, run: Run, *, in_detail: bool = True) -> None:
        self.run = run
        self._in_detail = in_detail
        self.lock = threading.RLock()
        self.changes = 0
        self._stamp: tuple[int, int, int] | None = None
        self._restart()

    def _restart(self) -> None:
        self.phases: dict[str, Phase] = {}
        self.phase: str | None = None
        self.evaluations: dict[str, dict[str, Any]] = {}
        self.warnings: list[str] = []
        self.reason: str | None = None
        self.method: str | None = None
        self.outcome: str | None = None
        self.devices: list[str] = []
        self.peak_memory: dict[str, float] = {}
        self.usage = Usage(in_detail=self._in_detail)
        self.error: str | None = None
        self.started: float | None = None
        self.ended: float | None = None
        self.updated: float | None = None
        self.seconds = 0.0
        self._head = b""
        self._workload: Workload | None = None
        self._cached: dict[str, dict[str, Any]] = {}
        self._tested: tuple[float, int, float] | None = None
        self._reader = EventStream(
            self.run.events_path, self._take, with_steps=self._in_detail
        )

    @property
    def skipped(self) -> int:
        """Number of lines that are not events."""
        return self._reader.skipped

    @property
    def reading(self) -> float:
        """Share of the file that has been read, in [0, 1]."""
        size = self._stamp[1] if self._stamp else 0
        return min(1.0, self._reader.done / size) if size else 1.0

    def poll(self) -> bool:
        """Read new events; return whether anything changed.

        A file that was replaced or truncated is read again from its start. If the file
        cannot be read, nothing is raised: `error` says why, and the history keeps what
        it has read before.
        """
        changed = self._try_poll()
        self.changes += changed
        return changed

    def _try_poll(self) -> bool:
        try:
            return self._poll()
        except FileNotFoundError:
            gone = not self.run.path.is_dir()
            return self._fail(
                f"{self.run.path} is gone." if gone else "There are no events yet."
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            return self._fail(f"Cannot read {self.run.events_path}: {reason}.")

    def _fail(self, error: str) -> bool:
        changed, self.error, self._stamp = error != self.error, error, None
        return changed

    def _poll(self) -> bool:
        found = os.stat(self.run.events_path)
        stamp = found.st_ino, found.st_size, found.st_mtime_ns
        if stamp == self._stamp:
            return False
        head = _head(self.run.events_path)
        if not head.startswith(self._head) or found.st_size < self._reader.done:
            with self.lock:
                self._restart()
        self._head, self._stamp, self.error = head, stamp, None
        self._reader.poll()
        return True

    @property
    def _load(self) -> Workload:
        if self._workload is None:
            self._workload = Workload(read_toml(self.run.recipe_path))
        return self._workload

    def _take(self, events: Sequence[Mapping[str, Any]]) -> None:
        with self.lock:
            for event in events:
                self._add(event)

    def _add(self, event: Mapping[str, Any]) -> None:
        kind = _text(event.get("event"))
        self._tick(kind, number(event.get("time")))
        if kind == "run_started":
            self.method = _text(event.get("method")) or self.method
            self.reason = self.outcome = self.ended = None
        elif kind in FINAL:
            self.outcome, self.ended = FINAL[kind], self.updated
            if kind == "run_failed":
                self.reason = _text(event.get("reason"))
            elif kind == "run_finished":
                self._note_means(event)
        elif kind == "warning":
            message = _text(event.get("message")) or "a warning without a text"
            self.warnings = [*self.warnings[1 - MOST_WARNINGS :], message]
        elif kind == "evaluation":
            self._add_evaluation(event)
        elif kind == SYSTEM:
            phase = self.phases.get(self.phase or "")
            is_training = phase is not None and not phase.is_fresh
            self.usage.add(event, self.seconds, is_training=is_training)
        elif kind in ("phase_started", "step", "epoch"):
            self._add_to_phase(kind, event)

    def _add_evaluation(self, event: Mapping[str, Any]) -> None:
        row, phase = table(event, "metrics"), _text(event.get("phase"))
        # A teacher that was trained in an earlier run, in its best epoch.
        is_cached = phase in TEACHERS
        rows = self._cached if is_cached else self.evaluations
        if len(rows) < MOST_PHASES:
            rows[_text(row.get("role"))] = row
        if self._tested is not None and not is_cached and self.updated is not None:
            begun, count, _ = self._tested
            self._tested = begun, count + 1, self.updated

    def _note_means(self, event: Mapping[str, Any]) -> None:
        devices = event.get("devices")
        named = devices[:MOST_DEVICES] if isinstance(devices, list) else []
        self.devices = [text for each in named if (text := _text(each))]
        memory = table(event, "peak_memory")
        found = {key: number(memory.get(key)) for key in ("host", "device")}
        self.peak_memory = {k: v for k, v in found.items() if v is not None and v > 0}

    def _add_to_phase(self, kind: str, event: Mapping[str, Any]) -> None:
        name = _text(event.get("phase"))
        if not name or (name not in self.phases and len(self.phases) >= MOST_PHASES):
            return
        self.phase = name
        if name == "evaluation":
            now = self.updated or 0.0
            self._tested = now, 0, now
            return
        phase = self.phases.setdefault(name, Phase(name, in_detail=self._in_detail))
        if kind == "phase_started":
            phase.batch_size = self._load.batch_size
            self._load.images = Images.of(event.get("images")) or self._load.images
            phase.begin(event, self.seconds)
        elif kind == "step":
            phase.follow(event)
        else:
            phase.finish_epoch(event, self.seconds)

    def _tick(self, kind: str, now: float | None) -> None:
        if now is None:
            return
        # The time before a start does not count: the run was not working.
        if kind != "run_started" and self.updated is not None:
            self.seconds += min(max(0.0, now - self.updated), LONGEST_GAP)
        self.started = now if self.started is None else self.started
        self.updated = now

    def worked(self, now: float | None = None) -> float:
        """Return the working time over all restarts, in seconds.

        Args:
            now: the present time in UNIX seconds, for a run that is still running. If
                None, the time ends at the last event.
        """
        if now is None or self.updated is None or self.outcome:
            return self.seconds
        return self.seconds + max(0.0, now - self.updated)

    def best(self, role: str) -> Accuracies | None:
        """Return the accuracies of a role's best epoch; None before the first epoch.

        A teacher may have been trained in an earlier run.
        """
        phase, row = self.phases.get(role), self._cached.get(role)
        if phase is None and row is not None and (found := _accuracies(row, row)):
            return replace(found, epoch=0)
        return phase.best if phase else None

    def evaluated(self, role: str) -> Accuracies | None:
        """Return a role's accuracies on the test images; None before its evaluation."""
        row = self.evaluations.get(role)
        if row is None:
            return None
        return _accuracies(row, self.evaluations.get("student", row))

    def accuracies(self, role: str) -> Accuracies | None:
        """Return a role's accuracies in its best epoch, else on the test images."""
        return self.best(role) or self.evaluated(role)

    def accuracy_columns(self, role: str) -> dict[str, Mapping[str, float | None]]:
        """Return a role's accuracies now, at its best epoch and on the test images.

        The student's are followed by those of the teachers.

        Args:
            role: name of a phase.

        Returns:
            Title of a column -> name of a metric -> accuracy in [0, 1].
        """
        phase = self.phases.get(role)
        metrics = phase.metrics if phase else {}
        columns: dict[str, Mapping[str, float | None]] = {
            "now": {name: metrics[name].last for name in ACCURACIES if name in metrics}
        }
        if best := self.best(role):
            columns[f"best, {best.epoch}"] = best.metrics
        if final := self.evaluated(role):
            columns[f"test, {final.attack}"] = final.metrics
        if role == "student":
            for teacher in TEACHERS:
                if each := self.accuracies(teacher):
                    origin = ", test" if each.is_final else ""
                    columns[f"{LABELS[teacher]}{origin}"] = each.metrics
        return columns

    def short_progress(self, name: str | None = None) -> str:
        """Return the epoch of a phase in one or two words, such as `nat 12/20`.

        Args:
            name: name of the phase; the current phase if left out.
        """
        name = (self.phase or "") if name is None else name
        phase, count = self.phases.get(name), ""
        if phase:
            known = f"{phase.epoch}/{phase.epochs}"
            count = known if phase.epochs else f"{phase.epoch or ''}"
        return f"{SHORT_LABELS.get(name, name)} {count}".strip()

    def progress(self, now: float | None = None) -> Progress:
        """Return the progress.

        Args:
            now: the present time in UNIX seconds, for a run that is still running. If
                None, it is the time of the last event.
        """
        phase = self.phases.get(self.phase or "")
        left = self._to_come()
        if self.outcome == "finished":
            return Progress(1.0, None, None, None, self.outcome)
        fraction = self._fraction(left)
        seconds, is_rough, covers_test = self._seconds_left(left, now)
        if phase is None:
            text = _label(self.phase or "")
            return Progress(
                fraction, None, seconds, None, text, False, is_rough, covers_test
            )
        text = f"{_label(phase.name)} {phase.epoch}"
        text += f"/{phase.epochs}" if phase.epochs else ""
        if left:
            text += f", then {' and '.join(_label(role) for role in left)}"
        return Progress(
            fraction,
            phase.epoch_fraction,
            seconds,
            phase.images_per_second,
            text,
            phase.is_fresh,
            is_rough,
            covers_test,
        )

    def _to_come(self) -> dict[str, int]:
        if self.phase == "evaluation":
            return {}
        # A teacher that is in the cache is skipped and writes no event.
        plan = list(self._load.epochs.items())
        begun = [place for place, (role, _) in enumerate(plan) if role in self.phases]
        return dict(plan[begun[-1] + 1 :] if begun else plan)

    def _tested_roles(self) -> int:
        """Return the number of networks that the final evaluation is of."""
        load = self._load
        known = [*self.phases, *self._cached, *self._to_come()]
        known += [role for role in TEACHERS if load.has_weights(role)]
        return len({*known, "student"})

    def _fraction(self, left: Mapping[str, int]) -> float | None:
        """Return the share of all passes that are done."""
        load, phases = self._load, list(self.phases.values())
        if any(phase.epochs is None for phase in phases) or not (phases or left):
            return None
        done = sum(phase.done * load.per_epoch(phase.name) for phase in phases)
        total = sum(
            (phase.epochs or 0) * load.per_epoch(phase.name) for phase in phases
        )
        total += sum(epochs * load.per_epoch(role) for role, epochs in left.items())
        if (each := load.of_evaluation()) is not None:
            total += each * self._tested_roles()
            done += each * (self._tested[1] if self._tested else 0)
        return min(1.0, done / total) if total else None

    def _seconds_left(
        self, left: Mapping[str, int], now: float | None
    ) -> tuple[float | None, bool, bool]:
        """Return the seconds, if they are rough, and if they cover the test."""
        load = self._load
        if self._tested is not None and self.phase == "evaluation":
            return (*self._seconds_of_test(now), True)
        per_pass = self._seconds_per_pass()
        phase = self.phases.get(self.phase or "")
        if per_pass is None or phase is None or phase.epochs is None:
            return None, False, False
        seconds, is_rough = phase.seconds_left, bool(left)
        if seconds is None:
            epochs, is_rough = phase.epochs - phase.done, True
            seconds = epochs * load.per_epoch(phase.name) * per_pass
        # Each network is compiled again.
        compiling = max(each.compile_seconds for each in self.phases.values())
        for role, epochs in left.items():
            seconds += epochs * load.per_epoch(role) * per_pass + compiling
        test = load.of_evaluation()
        if test is None:
            return seconds, is_rough, False
        seconds += test * self._tested_roles() * per_pass + compiling
        return seconds, True, True

    def _seconds_of_test(self, now: float | None) -> tuple[float | None, bool]:
        begun, count, ended = self._tested or (0.0, 0, 0.0)
        now = self.updated or ended if now is None else now
        rest = max(0, self._tested_roles() - count)
        if count:
            each = (ended - begun) / count
            return max(0.0, rest * each - max(0.0, now - ended)), False
        per_pass, test = self._seconds_per_pass(), self._load.of_evaluation()
        if per_pass is None or test is None:
            return None, True
        return max(0.0, rest * test * per_pass - max(0.0, now - begun)), True

    def _seconds_per_pass(self) -> float | None:
        """Return the seconds per pass of the phase that was measured last."""
        for phase in reversed(self.phases.values()):
            if (seconds := phase.epoch_seconds) is None and phase.rate and phase.steps:
                seconds = phase.steps / phase.rate
            if seconds is not None:
                return seconds / self._load.per_epoch(phase.name)
        return None


def _accuracies(
    row: Mapping[str, Any], student: Mapping[str, Any]
) -> Accuracies | None:
    # Version 0.1 did not record the attack. All networks of a run share one.
    attack = _text(row.get("headline")) or headline_of(_robust_shares(student)) or ""
    best = number(table(row, "w_robust_accuracy").get(attack))
    if best is None:
        return None
    clean, robust = number(row.get("clean_accuracy")), _robust_shares(row)
    return Accuracies(clean, robust.get(attack), best, attack=attack)


def _robust_shares(row: Mapping[str, Any]) -> dict[str, float]:
    found = table(row, "robust_accuracy").items()
    return {k: share for k, v in found if (share := number(v)) is not None}


def _label(name: str) -> str:
    return LABELS.get(name, name)


def _head(path: Path) -> bytes:
    with open_regular(path) as file:
        return file.read(HEAD)


def _text(value: Any) -> str:
    return value[:LONGEST_TEXT] if isinstance(value, str) else ""
