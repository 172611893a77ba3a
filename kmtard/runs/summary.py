"""One run in brief, from its files: its state, its settings, its best accuracies."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from kmtard.registry.roles import TEACHERS
from kmtard.runs.documents import number
from kmtard.runs.files import RunError
from kmtard.runs.folder import Run
from kmtard.runs.history import Accuracies, History
from kmtard.runs.results import read_figures
from kmtard.runs.settings import ABOUT, radius_of, read_settings

DAMAGED = "damaged"
"""The state of a run whose files cannot be read."""

NOTES = {
    "crashed": "Its process ended without a final event; the log ends with:",
    "unknown": "The owner is unknown: run.json is missing or damaged.",
}


@dataclass(frozen=True)
class Summary:
    """One run in brief.

    Attributes:
        state: as of `Run.state`, or "damaged".
        method: its name; empty if the recipe cannot be read, as `data`, `network` and
            `seed`.
        score: of the student: on the test images where they have been evaluated, of
            its best epoch otherwise; None before the first.
        teachers: role -> score of the best epoch, for those trained in this run.
        progress: the phase and its epoch, as `History.short_progress`.
        done: share of the epochs of that phase; None where it is not known.
        seconds: worked, over all restarts.
        epsilon: radius of the attack that the student's accuracy is against; None if
            it is unknown.
        created: UNIX seconds; 0 if not known.
        host: of its process.
        note: what went wrong; mostly empty.
    """

    run: Run
    state: str
    method: str = ""
    data: str = ""
    network: str = ""
    seed: str = ""
    score: Accuracies | None = None
    teachers: Mapping[str, Accuracies] = field(default_factory=dict)
    progress: str = ""
    done: float | None = None
    seconds: float = 0.0
    epsilon: float | None = None
    created: float = 0.0
    host: str = ""
    note: str = ""

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.run.name


class SummaryReader:
    """Reads one run, and again only where its files have changed.

    Args:
        run: its folder, which may be damaged in any way.
        in_detail: as for `history`, which is a `History`.

    Attributes:
        history: of the run.
    """

    def __init__(self, run: Run, *, in_detail: bool = False) -> None:
        self.run = run
        self.history = History(run, in_detail=in_detail)
        self._stamps: list[_Stamp | None] = []
        self._settings: tuple[_Stamp | None, list[str], float | None] | None = None
        self._problem = ""
        self._summary: Summary | None = None

    def read(self) -> Summary:
        """Return the run as of now; from one thread at a time."""
        run, known = self.run, self._summary
        paths = (run.events_path, run.info_path, run.evaluation_path, run.recipe_path)
        stamps = [_stamp(path) for path in paths]
        if known and stamps == self._stamps and known.state != "running":
            return known
        # A pipe would block whoever opens it.
        found = zip(paths, stamps, strict=True)
        if odd := [path.name for path, stamp in found if _is_odd(stamp)]:
            known = Summary(run, DAMAGED, note=f"{', '.join(odd)}: expected a file.")
        else:
            known = self._read(stamps[-1])
        self._summary, self._stamps = known, stamps
        return known

    def _read(self, recipe: _Stamp | None) -> Summary:
        if self._settings is None or self._settings[0] != recipe:
            settings = read_settings(self.run)
            about = [settings.get(key, "") for key in ABOUT]
            self._settings = recipe, about, radius_of(settings)
            self._problem = _problem(self.run)
        if self._problem:
            return Summary(self.run, DAMAGED, note=self._problem)
        try:
            # First, so that its progress through a long file can be watched.
            self.history.poll()
            summary = self._of(self.run.state(), *self._settings[1])
        # A number that is too large for a process id overflows.
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            return Summary(self.run, DAMAGED, note=f"It cannot be read: {reason}.")
        found = summary.score.epsilon if summary.score else None
        return replace(summary, epsilon=self._settings[2] if found is None else found)

    def _of(
        self, state: str, data: str, method: str, network: str, seed: str
    ) -> Summary:
        info, history = self.run.info(), self.history
        running = state == "running"
        final = None if running else final_accuracies(self.run)
        name = "student" if state == "finished" else history.phase or ""
        phase = history.phases.get(name)
        bests = {role: history.best(role) for role in TEACHERS}
        return Summary(
            self.run,
            state,
            method=method,
            data=data,
            network=network,
            seed=seed,
            score=final or history.best("student"),
            teachers={role: best for role, best in bests.items() if best},
            progress=history.short_progress(name),
            done=phase.share_done if phase else None,
            seconds=history.worked(time.time() if running else None),
            created=number(info.get("created")) or 0.0,
            host=str(info.get("host", "")),
            note=_note(state, history),
        )


def _problem(run: Run) -> str:
    try:
        run.check()
    except RunError as error:
        return str(error)
    return ""


_Stamp = tuple[int, int, int, int]


def _stamp(path: Path) -> _Stamp | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mode, found.st_mtime_ns, found.st_size, found.st_ino


def _is_odd(stamp: _Stamp | None) -> bool:
    return stamp is not None and not stat.S_ISREG(stamp[0])


def final_accuracies(run: Run) -> Accuracies | None:
    """Return the student's accuracies on the test images; None before they exist."""
    try:
        student = read_figures(run.path).student
    except RunError:
        return None
    robust = student.robust
    if student.role in TEACHERS or robust is None or robust.w_robust is None:
        return None
    return Accuracies(
        student.clean.accuracy,
        robust.accuracy,
        robust.w_robust,
        attack=student.headline or "",
        epsilon=number(robust.epsilon),
    )


def _note(state: str, history: History) -> str:
    note = (history.reason or "") if state == "failed" else NOTES.get(state, "")
    if note or not history.skipped:
        return note
    return f"{history.skipped} lines of events.jsonl are damaged and left out."
