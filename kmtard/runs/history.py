"""Aggregate a run's events into its history. Damaged events are skipped."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kmtard.registry.bounded import open_regular
from kmtard.registry.roles import LABELS, TEACHERS
from kmtard.runs.documents import number, read_toml, table, whole
from kmtard.runs.events import EventStream
from kmtard.runs.folder import FINAL, Run
from kmtard.runs.formats import duration
from kmtard.runs.phase import ACCURACIES, Accuracies, Phase, Series
from kmtard.runs.results import headline_of

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
        fraction: share of all epochs that are done, in [0, 1].
        epoch_fraction: share of the current epoch that is done, in [0, 1].
        eta_seconds: seconds until the current phase ends.
        images_per_second: training speed.
        text: the current phase and epoch, and the phases that follow.
        is_compiling: whether a phase has begun but trained no batch yet.
    """

    fraction: float | None
    epoch_fraction: float | None
    eta_seconds: float | None
    images_per_second: float | None
    text: str
    is_compiling: bool = False

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
            if self.eta_seconds is not None:
                facts.append(f"ends in {duration(max(1.0, self.eta_seconds))}")
            if self.images_per_second is not None:
                facts.append(f"{self.images_per_second:,.0f} images/s")
        return [fact for fact in facts if fact]


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
        self.error: str | None = None
        self.started: float | None = None
        self.ended: float | None = None
        self.updated: float | None = None
        self.seconds = 0.0
        self._head = b""
        self._plan: dict[str, int] | None = None
        self._batch_size: int | None = None
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

    def _read_recipe(self) -> None:
        recipe = read_toml(self.run.recipe_path)
        self._batch_size = whole(table(recipe, "data").get("batch_size"))
        planned = {
            role: table(recipe, role, "method", "schedule")
            for role in TEACHERS
            if table(recipe, role).get("train") is True
        }
        planned["student"] = table(recipe, "schedule")
        self._plan = {
            role: epochs
            for role, schedule in planned.items()
            if (epochs := whole(schedule.get("epochs")))
        }

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
            row = table(event, "metrics")
            if len(self.evaluations) < MOST_PHASES:
                self.evaluations[_text(row.get("role"))] = row
        elif kind in ("phase_started", "step", "epoch"):
            self._add_to_phase(kind, event)

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
            return
        phase = self.phases.setdefault(name, Phase(name, in_detail=self._in_detail))
        if kind == "phase_started":
            phase.begin(event)
        elif kind == "step":
            phase.follow(event)
        else:
            phase.finish_epoch(event)

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
        """Return the accuracies of a role's best epoch; None before the first epoch."""
        phase = self.phases.get(role)
        return phase.best if phase else None

    def evaluated(self, role: str) -> Accuracies | None:
        """Return a role's accuracies on the test images; None before its evaluation."""
        row = self.evaluations.get(role)
        if row is None:
            return None
        # Version 0.1 did not record the attack. All networks of a run share one.
        shares = _robust_shares(self.evaluations.get("student", row))
        attack = _text(row.get("headline")) or headline_of(shares) or ""
        best = number(table(row, "w_robust_accuracy").get(attack))
        if best is None:
            return None
        clean, robust = number(row.get("clean_accuracy")), _robust_shares(row)
        return Accuracies(clean, robust.get(attack), best, attack=attack)

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
            teachers = {LABELS[name]: self.accuracies(name) for name in TEACHERS}
            columns |= {name: each.metrics for name, each in teachers.items() if each}
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

    def progress(self) -> Progress:
        """Return the progress. The time left is that of the current phase only."""
        if self._plan is None:
            self._read_recipe()
        phase = self.phases.get(self.phase or "")
        left = self._to_come()
        if phase is None or self.outcome == "finished":
            label = _label(self.phase or "")
            text = self.outcome if self.outcome == "finished" else label
            return Progress(self._fraction(left), None, None, None, text or "")
        text = f"{_label(phase.name)} {phase.epoch}"
        text += f"/{phase.epochs}" if phase.epochs else ""
        if left:
            text += f", then {' and '.join(_label(role) for role in left)}"
        rate = phase.rate
        if rate is None and phase.steps and phase.epoch_seconds:
            rate = phase.steps / phase.epoch_seconds
        images = rate * self._batch_size if rate and self._batch_size else None
        return Progress(
            self._fraction(left),
            phase.epoch_fraction,
            phase.seconds_left,
            images,
            text,
            is_compiling=not phase.step and phase.epoch_seconds is None,
        )

    def _to_come(self) -> dict[str, int]:
        # A teacher that is in the cache is skipped and writes no event.
        plan = list((self._plan or {}).items())
        begun = [place for place, (role, _) in enumerate(plan) if role in self.phases]
        return dict(plan[begun[-1] + 1 :] if begun else plan)

    def _fraction(self, left: Mapping[str, int]) -> float | None:
        if self.outcome == "finished":
            return 1.0
        phases = list(self.phases.values())
        total = sum(phase.epochs or 0 for phase in phases) + sum(left.values())
        if not total or any(phase.epochs is None for phase in phases):
            return None
        return min(1.0, sum(phase.done for phase in phases) / total)


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
