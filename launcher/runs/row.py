"""What the list of runs says about one of them, from its files."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kmtard.registry import label
from kmtard.runs import EventReader, Run
from launcher.runs.course import SELECTION, Course, Score
from launcher.runs.documents import number, read_json, read_toml, table

DAMAGED = "damaged"
TEACHERS = ("nat_teacher", "adv_teacher")
NOTES = {
    "crashed": "Its process ended without a word; the log ends with:",
    "unknown": "Whose it is is not known: run.json is missing or damaged.",
}
STEP = b'"event": "step"'


@dataclass(frozen=True)
class Row:
    """One run in the list.

    Attributes:
        state: as of `Run.state`, or "damaged".
        method: its name; empty if the recipe cannot be read, as what else it says.
        score: of the student: on the test images once it is judged there, of its best
            epoch before; None before the first.
        teachers: phase -> score of the best epoch, of those trained in this run.
        progress: the phase and its epoch, as `Course.progress`.
        done: share of the epochs of that phase; None where it is not known.
        seconds: worked, over all restarts.
        created: UNIX seconds; 0 if not known.
        note: what went wrong, empty mostly.
    """

    run: Run
    state: str
    method: str = ""
    data: str = ""
    network: str = ""
    seed: str = ""
    score: Score | None = None
    teachers: Mapping[str, Score] = field(default_factory=dict)
    progress: str = ""
    done: float | None = None
    seconds: float = 0.0
    created: float = 0.0
    host: str = ""
    note: str = ""

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.run.name


class RowReader:
    """Reads one run, and again only where its files have changed.

    Args:
        run: its folder, which may be damaged in any way.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self._events = _Events(run.events_path)
        self._course = Course()
        self._stamps: list[_Stamp | None] = []
        self._row: Row | None = None

    def read(self) -> Row:
        """Return the row as of now."""
        run, row = self.run, self._row
        paths = (run.events_path, run.info_path, run.evaluation_path, run.recipe_path)
        stamps = [_stamp(path) for path in paths]
        if row and stamps == self._stamps and row.state != "running":
            return row
        # A pipe would block whoever opens it.
        found = zip(paths, stamps, strict=True)
        if odd := [path.name for path, stamp in found if _is_odd(stamp)]:
            row = Row(run, DAMAGED, note=f"{', '.join(odd)}: expected a file.")
        else:
            row = self._read()
        self._row, self._stamps = row, stamps
        return row

    def _read(self) -> Row:
        try:
            return self._made(self.run.state(), self._follow())
        # A number that is too large for a process id overflows.
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            return Row(self.run, DAMAGED, note=f"It cannot be read: {reason}.")

    def _follow(self) -> Course:
        restarts = self._events.restarts
        events = self._events.poll()
        if self._events.restarts != restarts:
            self._course = Course()
        for event in events:
            self._course.add(event)
        return self._course

    def _made(self, state: str, course: Course) -> Row:
        info, recipe = self.run.info(), read_toml(self.run.recipe_path)
        running = state == "running"
        judged = None if running else _judged(read_json(self.run.evaluation_path))
        phase = "student" if state == "finished" else course.phase
        bests = {role: course.best(role) for role in TEACHERS}
        return Row(
            self.run,
            state,
            method=label(_text(recipe, "method", "name")),
            data=_text(recipe, "data", "name"),
            network=_text(recipe, "student", "network"),
            seed=_text(recipe, "runtime", "seed"),
            score=judged or course.best("student"),
            teachers={role: best for role, best in bests.items() if best},
            progress=course.progress(phase),
            done=course.done(phase),
            seconds=course.seconds(time.time() if running else None),
            created=number(info.get("created")) or 0.0,
            host=str(info.get("host", "")),
            note=course.reason if state == "failed" else NOTES.get(state, ""),
        )


class _Events(EventReader):
    """Passes over the steps, nearly all lines of a long file."""

    def parse(self, lines: list[bytes]) -> list[dict[str, Any]]:
        """Return the events but for the steps."""
        return super().parse([line for line in lines if STEP not in line])


_Stamp = tuple[int, int, int, int]


def _stamp(path: Path) -> _Stamp | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mode, found.st_mtime_ns, found.st_size, found.st_ino


def _is_odd(stamp: _Stamp | None) -> bool:
    return stamp is not None and not stat.S_ISREG(stamp[0])


def _judged(report: Mapping[str, Any]) -> Score | None:
    """Return the student's figures of `evaluation.json`, by whoever wrote it."""
    rows = report.get("rows")
    for row in rows if isinstance(rows, list) else ():
        if table(row) and row.get("role") == "student":
            weighted = table(row, "w_robust_accuracy")
            attack = next(reversed(weighted), SELECTION)
            return _score(
                row.get("clean_accuracy"),
                table(row, "robust_accuracy").get(attack),
                weighted.get(attack),
                attack,
            )
    column = table(report, "attacks", SELECTION)
    return _score(
        report.get("clean_accuracy"),
        column.get("accuracy"),
        column.get("w_robust_accuracy"),
        SELECTION,
    )


def _score(clean: Any, robust: Any, weighted: Any, attack: str) -> Score | None:
    best = number(weighted)
    if best is None:
        return None
    return Score(number(clean), number(robust), best, attack=attack)


def _text(recipe: Mapping[str, Any], name: str, key: str) -> str:
    return str(table(recipe, name).get(key, ""))
