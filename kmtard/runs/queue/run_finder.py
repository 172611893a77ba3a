"""Find the run that belongs to a process."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kmtard.runs import Run
from kmtard.runs.folder import each_once
from kmtard.runs.queue.entry import Entry


class RunFinder:
    """Finds runs by the process in their run.json. Unchanged files are read only once.

    Args:
        runs_dir: folder that holds the runs.
    """

    def __init__(self, runs_dir: Path) -> None:
        self.runs_dir = runs_dir
        self._owners: dict[str, tuple[int, Mapping[str, Any]]] = {}

    def find(self, entry: Entry) -> str | None:
        """Return the folder of the run that an entry's process owns, None if none."""
        with contextlib.suppress(OSError):
            paths = [self.runs_dir / name for name in os.listdir(self.runs_dir)]
            for name in (path.name for path in each_once(paths)):
                if owns(entry, self._owner(name)):
                    return str(self.runs_dir / name)
        return None

    def _owner(self, name: str) -> Mapping[str, Any]:
        run = Run(self.runs_dir / name)
        try:
            stamp = os.stat(run.info_path).st_mtime_ns
        except OSError:
            return {}
        if self._owners.get(name, (None,))[0] != stamp:
            self._owners[name] = (stamp, run.info())
        return self._owners[name][1]


def owns(entry: Entry, info: Mapping[str, Any]) -> bool:
    """Return whether an entry's process wrote this run.json."""
    owner = (info.get("pid"), info.get("process_start"), info.get("host"))
    return entry.pid is not None and owner == (
        entry.pid,
        entry.process_start,
        entry.host,
    )
