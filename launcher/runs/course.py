"""How a run went, from its events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kmtard.runs import FINAL
from launcher.runs.documents import number, table

SELECTION = "pgd_trades"
"""The attack by which the best epoch is chosen."""

PHASES = {"nat_teacher": "nat", "adv_teacher": "adv", "evaluation": "judging"}
"""Phases in a word, where there is room for no more; the student's goes unsaid."""

MANY = 10**9  # epochs: more are no number of epochs


@dataclass(frozen=True)
class Score:
    """Accuracies in [0, 1] that were found together.

    Attributes:
        clean: None where it is not known, as `robust`.
        epoch: that had them, on the images it is chosen by; None for the chosen network
            on the test images.
        attack: that `robust` is under.
    """

    clean: float | None
    robust: float | None
    w_robust: float
    epoch: int | None = None
    attack: str = SELECTION

    @property
    def origin(self) -> str:
        """Where the figures come from, in a word."""
        return "test" if self.epoch is None else f"epoch {self.epoch}"


class Course:
    """Phases, epochs and their best, the time worked: small, however many events.

    Attributes:
        phase: the last that was begun.
        reason: of the last failure.
    """

    def __init__(self) -> None:
        self.phase = ""
        self.reason = ""
        self._epochs: dict[str, int | None] = {}
        self._epoch: dict[str, int] = {}
        self._records: dict[str, list[Score]] = {}
        self._began: float | None = None
        self._last = 0.0
        self._worked = 0.0

    def add(self, event: Mapping[str, Any]) -> None:
        """Take in the next event, whatever it holds."""
        kind, phase = event.get("event"), str(event.get("phase", ""))
        self._tick(kind, number(event.get("time")))
        if kind == "phase_started":
            self.phase = phase
            self._epochs[phase] = _whole(event.get("epochs"))
        elif kind == "epoch" and (epoch := _whole(event.get("epoch"))) is not None:
            self.phase = phase
            self._epoch[phase] = epoch
            self._score(phase, epoch, table(event, "metrics"))
        elif kind == "run_failed":
            self.reason = str(event.get("reason", ""))

    def _tick(self, kind: Any, now: float | None) -> None:
        if now is None:
            return
        if kind == "run_started":
            self._worked, self._began = self.seconds(), now
        self._last = now
        if kind in FINAL:
            self._worked, self._began = self.seconds(), None

    def _score(self, phase: str, epoch: int, metrics: Mapping[str, Any]) -> None:
        records = self._records.setdefault(phase, [])
        # Resumed from an earlier epoch, a run has the best of those up to there.
        while records and (records[-1].epoch or 0) >= epoch:
            records.pop()
        best = number(metrics.get("w_robust_accuracy"))
        if best is not None and (not records or best > records[-1].w_robust):
            clean = number(metrics.get("clean_accuracy"))
            robust = number(metrics.get("robust_accuracy"))
            records.append(Score(clean, robust, best, epoch))

    def best(self, phase: str) -> Score | None:
        """Return the best epoch of a phase, the first of equal ones."""
        records = self._records.get(phase)
        return records[-1] if records else None

    def progress(self, phase: str) -> str:
        """Return the epoch of a phase in a word or two, such as `nat 12/20`."""
        epoch, epochs = self._epoch.get(phase, 0), self._epochs.get(phase)
        count = f"{epoch}/{epochs}" if epochs else f"{epoch or ''}"
        label = "" if phase == "student" else PHASES.get(phase, phase)
        return f"{label} {count}".strip()

    def done(self, phase: str) -> float | None:
        """Return the share of a phase's epochs that are done."""
        epochs = self._epochs.get(phase)
        return min(1.0, self._epoch.get(phase, 0) / epochs) if epochs else None

    def seconds(self, now: float | None = None) -> float:
        """Return the time worked over all restarts, until the last event or `now`."""
        if self._began is None:
            return self._worked
        end = self._last if now is None else now
        return self._worked + max(0.0, end - self._began)


def _whole(value: Any) -> int | None:
    valid = isinstance(value, int) and not isinstance(value, bool)
    return value if valid and 0 <= value < MANY else None
