"""Notice runs that end, with little reading, for notifications."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from kmtard.runs.files import RunError
from kmtard.runs.folder import Run
from kmtard.runs.formats import percent
from kmtard.runs.summary import Summary, SummaryReader

ENDED = ("finished", "stopped", "failed", "crashed")
"""States of a run without a process that works on it."""

_Stamp = tuple[int, int] | None


@dataclass
class _Known:
    run: Run
    stamp: _Stamp
    state: str


class RunWatch:
    """Finds the runs of a folder that have ended since the last look.

    A run that has ended costs one call of `stat` per look, until it is resumed. The
    first look finds nothing: it only notes what there is.

    Args:
        runs_dir: the folder. It may be missing.

    Example:
        >>> import tempfile
        >>> from kmtard.runs import EventWriter
        >>> folder = tempfile.mkdtemp()
        >>> watch = RunWatch(Path(folder))
        >>> watch.look()
        []
        >>> run = Run.create(folder, "example", "", {})
        >>> watch.look()
        []
        >>> EventWriter(run.events_path).write("run_finished")
        >>> [ended.state for ended in watch.look()]
        ['finished']
    """

    def __init__(self, runs_dir: Path) -> None:
        self.runs_dir = runs_dir
        self._known: dict[str, _Known] | None = None

    def look(self) -> list[Summary]:
        """Return a summary of each run that has ended. Call it from one thread.

        A folder that cannot be read now has no run that has ended.
        """
        try:
            names = [name for name in os.listdir(self.runs_dir) if name[0] != "."]
        except FileNotFoundError:
            names = []
        except OSError:
            return []
        before, after = self._known, dict[str, _Known]()
        ended = []
        for name in names:
            old = before.get(name) if before else None
            if (now := self._read(name, old)) is None:
                continue
            after[name] = now
            began = old is not None and old.state not in ENDED
            if began and now.state in ENDED:
                ended.append(SummaryReader(now.run).read())
        self._known = after
        return ended

    def _read(self, name: str, old: _Known | None) -> _Known | None:
        run = old.run if old else Run(self.runs_dir / name)
        stamp = _stamp(run.events_path)
        if old is not None and old.stamp == stamp and old.state in ENDED:
            return old
        try:
            if old is None and not run.recipe_path.is_file():
                return None
            return _Known(run, stamp, run.state())
        except (OSError, OverflowError, RunError):
            return None


def _stamp(path: Path) -> _Stamp:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def ending(run: Summary) -> str:
    """Return how a run ended, in one line.

    Example:
        >>> ending(Summary(Run("runs/a"), "failed", note="out of memory"))
        'a failed: out of memory'
    """
    text = f"{run.name} {run.state}"
    if run.state in ("failed", "crashed"):
        return f"{text}: {run.note}" if run.note else text
    if run.score is not None:
        return f"{text}: W-Robust {percent(run.score.w_robust)} ({run.score.origin})"
    return text
