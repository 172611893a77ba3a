"""All runs in a folder, quick to read again and again."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kmtard.runs.files import RunError
from kmtard.runs.folder import Run, each_once
from kmtard.runs.study_views import StudyLibrary, StudyView
from kmtard.runs.summary import Summary, SummaryReader

if TYPE_CHECKING:
    from kmtard.runs.queue.entry import Entry
    from kmtard.runs.queue.queue import Queue


@dataclass(frozen=True)
class Scan:
    """The runs of a folder and the state of its queue.

    Attributes:
        rows: one summary per run, newest first.
        problem: why the folder cannot be read; empty if it can.
        queue: how many entries are running and waiting, such as `1 running, 2 waiting`.
        studies: newest first.
    """

    rows: list[Summary]
    problem: str
    queue: str
    studies: tuple[StudyView, ...] = ()


class Library:
    """The runs in a folder. An unchanged run costs only a few calls of `stat`.

    Args:
        runs_dir: the folder. It may be missing.
    """

    def __init__(self, runs_dir: Path) -> None:
        self.runs_dir = runs_dir
        self._readers: dict[str, SummaryReader] = {}
        self._studies = StudyLibrary(runs_dir)

    def scan(self) -> list[Summary]:
        """Return a summary of each run, newest first.

        Call it from one thread at a time.

        Raises:
            OSError: the folder exists but cannot be listed.
        """
        names: list[str] = []
        with contextlib.suppress(FileNotFoundError):
            names = [name for name in os.listdir(self.runs_dir) if name[0] != "."]
        readers = {}
        for path in each_once(self.runs_dir / name for name in sorted(names)):
            run, name = Run(path), path.name
            # An entry that is not a regular file is shown as damaged, not left out.
            if os.path.lexists(run.recipe_path):
                readers[name] = self._readers.get(name) or SummaryReader(run)
        self._readers = readers
        rows = [reader.read() for reader in readers.values()]
        return sorted(rows, key=lambda row: -row.created)

    def look(self, queue: Queue) -> Scan:
        """Return the runs, studies and the queue.

        Problems with the folder are in `problem`.
        """
        entries: list[Entry] = []
        # The queue has its own screen, which shows its problems.
        with contextlib.suppress(OSError, RunError):
            entries = queue.entries()
        try:
            rows = self.scan()
        except OSError as error:
            problem = f"Cannot read {self.runs_dir}: {error.strerror}."
            return Scan([], problem, _summary(entries))
        studies = self._studies.look(rows, entries)
        return Scan(rows, "", _summary(entries), studies)


def _summary(entries: Sequence[Entry]) -> str:
    counts = Counter(entry.state for entry in entries)
    states = [state for state in ("running", "waiting") if counts[state]]
    return ", ".join(f"{counts[state]} {state}" for state in states)
