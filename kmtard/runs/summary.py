"""One run in brief, read from its files: its state, settings and best accuracies."""

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
from kmtard.runs.notes import Notes, read_notes
from kmtard.runs.phase import Phase
from kmtard.runs.results import read_figures
from kmtard.runs.settings import ABOUT, radius_of, read_settings, setting_of

DAMAGED = "damaged"
"""The state of a run whose files cannot be read."""

COMPILING = "compiling"
"""The progress of a run that waits for its first batch."""

NOTES = {
    "crashed": "Its process ended without a final event. The log ends with:",
    "unknown": "The owner is unknown: run.json is missing or damaged.",
}


@dataclass(frozen=True)
class Summary:
    """One run in brief.

    Attributes:
        run: the run.
        state: as returned by `Run.state`, or "damaged".
        method: name of the method; empty if the recipe cannot be read. The same holds
            for `data`, `network` and `seed`.
        data: name of the data set.
        network: name of the student's network.
        seed: the seed.
        score: the student's accuracies on the test images, or in its best epoch if it
            has not been evaluated on the test images; None before the first epoch.
        teachers: role -> accuracies of the best epoch, for teachers trained in this
            run.
        progress: the phase and its epoch, as returned by `History.short_progress`.
        done: share of that phase's epochs that are completed; None if unknown.
        seconds: working time over all restarts.
        epsilon: radius of the attack that the student's accuracy is against; None if
            unknown.
        created: time of creation in UNIX seconds; 0 if unknown.
        host: name of the machine with its process; empty if unknown.
        job: number of its job of SLURM; empty without.
        setting: equal for runs that differ only in their seed and folders; empty if
            the recipe cannot be read.
        note: what went wrong; empty if nothing did.
        fraction: share of the whole run's work that is done; None if unknown.
        seconds_left: seconds until the run ends, for one that is running; None if
            unknown.
        left: the same as text, as of `Progress.left`; empty if unknown.
        trend: the student's W-Robust accuracy after its epochs, or that of the network
            that is trained now; in few points.
        notes: the user's note and tags.
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
    job: str = ""
    setting: str = ""
    note: str = ""
    fraction: float | None = None
    seconds_left: float | None = None
    left: str = ""
    trend: tuple[float, ...] = ()
    notes: Notes = Notes()

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.run.name

    @property
    def where(self) -> str:
        """What executes it or has: a host, or a job of SLURM on a host."""
        return " on ".join(filter(None, [self.job and f"job {self.job}", self.host]))


class SummaryReader:
    """Reads one run; files that have not changed are not read again.

    Args:
        run: the run. Its files may be damaged in any way.
        in_detail: as in `History`.

    Attributes:
        history: the run's `History`.
    """

    def __init__(self, run: Run, *, in_detail: bool = False) -> None:
        self.run = run
        self.history = History(run, in_detail=in_detail)
        self._stamps: list[_Stamp | None] = []
        self._settings: tuple[_Stamp | None, list[str], float | None, str] | None = None
        self._problem = ""
        self._summary: Summary | None = None

    def read(self) -> Summary:
        """Return the present state of the run. Call it from one thread at a time."""
        run, known = self.run, self._summary
        paths = (
            *(run.events_path, run.info_path, run.evaluation_path),
            *(run.notes_path, run.recipe_path),
        )
        stamps = [_stamp(path) for path in paths]
        if known and stamps == self._stamps and known.state != "running":
            return known
        # Opening a pipe would block.
        found = zip(paths, stamps, strict=True)
        if odd := [path.name for path, stamp in found if _is_odd(stamp)]:
            note = f"Expected regular files, which these are not: {', '.join(odd)}."
            known = Summary(run, DAMAGED, note=note)
        else:
            known = self._read(stamps[-1])
        self._summary, self._stamps = known, stamps
        return known

    def _read(self, recipe: _Stamp | None) -> Summary:
        if self._settings is None or self._settings[0] != recipe:
            settings = read_settings(self.run)
            about = [settings.get(key, "") for key in ABOUT]
            setting = setting_of(settings)
            self._settings = recipe, about, radius_of(settings), setting
            self._problem = _problem(self.run)
        if self._problem:
            return Summary(self.run, DAMAGED, note=self._problem)
        try:
            # First, so that another thread can show how far the reading is.
            self.history.poll()
            summary = self._of(self.run.state(), *self._settings[1])
        # A damaged run.json can hold a process number that is too large.
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            return Summary(self.run, DAMAGED, note=f"The run cannot be read: {reason}.")
        found = summary.score.epsilon if summary.score else None
        _, _, epsilon, setting = self._settings
        epsilon = epsilon if found is None else found
        summary = replace(summary, epsilon=epsilon, setting=setting)
        try:
            return replace(summary, notes=read_notes(self.run))
        except RunError as error:
            return replace(summary, note=summary.note or str(error))

    def _of(
        self, state: str, data: str, method: str, network: str, seed: str
    ) -> Summary:
        info, history = self.run.info(), self.history
        running = state == "running"
        final = None if running else final_accuracies(self.run)
        name = "student" if state == "finished" else history.phase or ""
        phase = history.phases.get(name)
        bests = {role: history.best(role) for role in TEACHERS}
        now = time.time() if running else None
        progress = history.progress(now)
        is_compiling = running and progress.is_compiling
        learner = history.phases.get("student", phase)
        return Summary(
            self.run,
            state,
            method=method,
            data=data,
            network=network,
            seed=seed,
            score=final or history.best("student"),
            teachers={role: best for role, best in bests.items() if best},
            progress=COMPILING if is_compiling else history.short_progress(name),
            done=phase.share_done if phase else None,
            seconds=history.worked(now),
            created=number(info.get("created")) or 0.0,
            host=str(info.get("host", "")),
            job=str(info.get("slurm_job", "")),
            note=_note(state, history),
            fraction=progress.fraction,
            seconds_left=progress.eta_seconds if running else None,
            left=progress.left if running else "",
            trend=_known(learner),
        )


def _known(phase: Phase | None) -> tuple[float, ...]:
    return tuple(y for y in phase.trend.y if y is not None) if phase else ()


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
    """Return the student's accuracies on the test images; None if not evaluated yet."""
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
