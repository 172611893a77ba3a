"""What a run's events tell so far, whatever they look like."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kmtard.runs import FINAL, Run
from launcher.runs.course import SELECTION
from launcher.runs.documents import number, read_toml, table
from launcher.runs.event_stream import EventStream
from launcher.runs.phase import Phase, Series, whole

__all__ = ["History", "Phase", "Progress", "Series"]

LABELS = {
    "nat_teacher": "clean teacher",
    "adv_teacher": "robust teacher",
    "student": "student",
    "evaluation": "evaluation",
}
"""Phases and roles in words."""

HEAD = 256  # bytes, by which a file that was replaced is known
LONGEST_GAP = 86_400.0  # seconds between two events: more is a clock that was set
MOST_PHASES = 16
MOST_WARNINGS = 100
LONGEST_TEXT = 2_000  # characters


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        fraction: share of all epochs, 0 to 1; None where the number is not known.
        epoch_fraction: share of the epoch that goes on.
        eta_seconds: until the end of the phase that goes on.
        images_per_second: trained; None where it is not known.
        text: the phase and its epoch, and what follows.
    """

    fraction: float | None
    epoch_fraction: float | None
    eta_seconds: float | None
    images_per_second: float | None
    text: str


class History:
    """A run's events, reduced: small however many there are.

    Args:
        run: its folder, whose files may be missing or damaged in any way.

    Attributes:
        phases: name -> phase, in the order they began.
        phase: the one that goes on, or was the last.
        evaluations: role -> accuracies of the final judgement.
        warnings: the last ones.
        reason: of a failure.
        method: its name.
        outcome: `finished`, `stopped` or `failed`; None if it goes on or was cut off.
        skipped: lines that are no events.
        error: why the events cannot be read.
        started: UNIX seconds, as `ended` and `updated`.
        seconds: worked, over all restarts.
        lock: held while events come in; who reads meanwhile from another thread than
            `poll` holds it too.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.lock = threading.RLock()
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
        self.error: str | None = None
        self.started: float | None = None
        self.ended: float | None = None
        self.updated: float | None = None
        self.seconds = 0.0
        self._head = b""
        self._plan: dict[str, int] | None = None
        self._batch_size: int | None = None
        self._reader = EventStream(self.run.events_path, self._take)

    @property
    def skipped(self) -> int:
        """Lines that are no events."""
        return self._reader.skipped

    @property
    def reading(self) -> float:
        """Share of the file that is read, 0 to 1."""
        size = self._stamp[1] if self._stamp else 0
        return min(1.0, self._reader.done / size) if size else 1.0

    def poll(self) -> bool:
        """Read what is new; return whether anything changed.

        A file that was replaced or cut is read from its start. Nothing is raised:
        `error` tells why a file cannot be read, and what was read stays.
        """
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
        # A pipe would block whoever opens it.
        if not stat.S_ISREG(found.st_mode):
            raise OSError("expected a file")
        head = _head(self.run.events_path)
        if not head.startswith(self._head) or found.st_size < self._reader.done:
            with self.lock:
                self._restart()
        self._head, self._stamp, self.error = head, stamp, None
        if self._plan is None:
            self._read_recipe()
        self._reader.poll()
        return True

    def _read_recipe(self) -> None:
        recipe = read_toml(self.run.recipe_path)
        self._batch_size = whole(table(recipe, "data").get("batch_size"))
        planned = {
            role: table(recipe, role, "method", "schedule")
            for role in ("nat_teacher", "adv_teacher")
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
        elif kind == "warning":
            message = _text(event.get("message")) or "a warning without a text"
            self.warnings = [*self.warnings[1 - MOST_WARNINGS :], message]
        elif kind == "evaluation":
            row = table(event, "metrics")
            if len(self.evaluations) < MOST_PHASES:
                self.evaluations[_text(row.get("role"))] = row
        elif kind in ("phase_started", "step", "epoch"):
            self._add_to_phase(kind, event)

    def _add_to_phase(self, kind: str, event: Mapping[str, Any]) -> None:
        name = _text(event.get("phase"))
        if not name or (name not in self.phases and len(self.phases) >= MOST_PHASES):
            return
        self.phase = name
        if name == "evaluation":
            return
        phase = self.phases.setdefault(name, Phase(name))
        if kind == "phase_started":
            phase.begin(event)
        elif kind == "step":
            phase.follow(event)
        else:
            phase.finish_epoch(event)

    def _tick(self, kind: str, now: float | None) -> None:
        if now is None:
            return
        # What lies before a start was no work: the run was not there.
        if kind != "run_started" and self.updated is not None:
            self.seconds += min(max(0.0, now - self.updated), LONGEST_GAP)
        self.started = now if self.started is None else self.started
        self.updated = now

    def judged(self, role: str) -> dict[str, float | None]:
        """Return the accuracies of the final judgement; empty before it.

        The robust ones are those under the attack that epochs are chosen by, or under
        the last one.
        """
        row = self.evaluations.get(role)
        if row is None:
            return {}
        accuracies = {"clean_accuracy": number(row.get("clean_accuracy"))}
        for name in ("robust_accuracy", "w_robust_accuracy"):
            attacks = table(row, name)
            value = attacks.get(SELECTION, next(reversed(attacks.values()), None))
            accuracies[name] = number(value)
        return accuracies

    def progress(self) -> Progress:
        """Return how far the run is; a phase that has not begun has no time yet."""
        phase = self.phases.get(self.phase or "")
        left = self._to_come()
        if phase is None or self.outcome == "finished":
            label = LABELS.get(self.phase or "", self.phase or "")
            text = self.outcome if self.outcome == "finished" else label
            return Progress(self._fraction(left), None, None, None, text or "")
        text = f"{LABELS.get(phase.name, phase.name)} {phase.epoch}"
        text += f"/{phase.epochs}" if phase.epochs else ""
        if left:
            text += f", then {' and '.join(LABELS[role] for role in left)}"
        rate = phase.rate
        if rate is None and phase.steps and phase.epoch_seconds:
            rate = phase.steps / phase.epoch_seconds
        images = rate * self._batch_size if rate and self._batch_size else None
        return Progress(
            self._fraction(left), phase.epoch_fraction, phase.seconds_left, images, text
        )

    def _to_come(self) -> dict[str, int]:
        # A teacher that was trained before is passed over without an event.
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


def _head(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(HEAD)


def _text(value: Any) -> str:
    return value[:LONGEST_TEXT] if isinstance(value, str) else ""
