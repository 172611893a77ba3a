"""Start a study as a process of its own, and tell what becomes of it."""

from __future__ import annotations

import asyncio
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from kmtard.runs.log_file import last_lines
from kmtard.runs.studies import RECORD, StudyFolder
from kmtard.runs.study_task import StudyTask
from launcher.runs.study_control import start_study
from launcher.screens.base import LauncherScreen

PATIENCE = 60.0  # seconds in which a command that is wrong has ended
PAUSE = 0.1
LINES = 3  # of the log of a study that fails at once


class StudyStarter(LauncherScreen[None]):
    """A screen that starts studies as processes of their own."""

    # Without a reference, Python would warn that they are still running.
    _studies: ClassVar[list[subprocess.Popen[bytes]]] = []

    async def start_study(self, task: StudyTask, folder: StudyFolder, cwd: Path) -> int:
        """Start a study, and say so; report what it says if it fails at once.

        Returns:
            The exit code of a command that has ended, 0 for one that still runs.

        Raises:
            RunError: it cannot be started.
        """
        record = folder.path / RECORD
        before = await asyncio.to_thread(_stamp, record)
        process = await asyncio.to_thread(start_study, task, folder, cwd)
        self._studies[:] = [each for each in self._studies if each.poll() is None]
        self._studies.append(process)
        self.tell(f"Started: {folder.path.name}. It continues when you quit.")
        code = await _begun(process, record, before)
        if code:
            lines = await asyncio.to_thread(last_lines, folder.log_path, LINES)
            self.app.report("\n".join([f"{folder.path.name} has failed:", *lines]))
        return code


def _stamp(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_mtime_ns
    return 0


async def _begun(process: subprocess.Popen[bytes], record: Path, before: int) -> int:
    """Wait until a study has written its record, or its process has ended."""
    for _ in range(round(PATIENCE / PAUSE)):
        code = process.poll()
        if code is not None:
            return code
        if await asyncio.to_thread(_stamp, record) != before:
            return 0
        await asyncio.sleep(PAUSE)
    return 0
