"""Start, stop and resume a study: a process that watches, and what it has queued."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from kmtard.runs import Run, RunError, signals
from kmtard.runs.files import append_regular
from kmtard.runs.queue.queue import Queue
from kmtard.runs.studies import StudyFolder
from kmtard.runs.study_task import StudyTask
from kmtard.runs.study_views import ACTIVE, StudyView

NOT_OFFERED = "a study is selected: open it and choose a run"


def start_study(
    task: StudyTask, folder: StudyFolder, cwd: str | Path
) -> subprocess.Popen[bytes]:
    """Start the command of a study, which continues without the launcher.

    Args:
        task: what to do.
        folder: of the study; the output is appended to its log.
        cwd: folder to run it in.

    Raises:
        RunError: the log cannot be written, or the command cannot be started.
    """
    folder.make()
    try:
        with append_regular(folder.log_path) as log:
            return subprocess.Popen(
                task.command(),
                cwd=cwd,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
    except OSError as error:
        raise RunError(
            f"Cannot start the study {folder.path.name} in {cwd}: {error.strerror}."
        ) from error


def stop_study(study: StudyView, queue: Queue, *, kill: bool = False) -> list[str]:
    """Take what waits out of the queue, and end what runs here.

    Args:
        study: as it was read.
        queue: of its runs.
        kill: whether to end the runs at once, without a checkpoint.

    Returns:
        One message for each cell that could not be stopped, such as one that runs on
        another host.

    Raises:
        RunError: the queue cannot be read.
    """
    problems = []
    entries = {entry.id: entry for entry in queue.entries()}
    # What waits first: otherwise it begins when a run before it ends.
    for cell in sorted(study.cells, key=lambda cell: cell.state != "waiting"):
        if cell.state not in (*ACTIVE, "remote"):
            continue
        try:
            if cell.entry:
                entry = entries.get(cell.entry)
                # It may have begun or ended since the study was read.
                if entry is not None and entry.state == "waiting":
                    queue.remove(entry.id)
                elif entry is not None and not entry.is_ended:
                    (queue.kill if kill else queue.stop)(entry.id)
            elif cell.row is not None:
                run = Run(cell.row.run.path)
                (signals.kill if kill else signals.stop)(run)
            else:
                problems.append(f"{cell.name} waits in {cell.where}: use scancel.")
        except RunError as error:
            problems.append(f"{cell.name}: {error}")
    return problems


def running_cells(study: StudyView) -> set[str]:
    """Return what runs here: ids of entries of the queue, or folders of runs."""
    return {
        cell.entry or str(cell.row.run.path if cell.row else cell.name)
        for cell in study.cells
        if cell.state == "running"
    }


RULES: dict[str, Callable[[StudyView], str]] = {
    "stop_run": lambda study: (
        ""
        if any(cell.state in (*ACTIVE, "remote") for cell in study.cells)
        else "nothing of it waits or runs"
    ),
    "resume_run": lambda study: (
        ""
        if any(cell.state not in ("finished", *ACTIVE) for cell in study.cells)
        else "nothing of it is left to resume"
    ),
    "report_run": lambda study: (
        ""
        if any(cell.state == "finished" for cell in study.cells)
        else "none of its runs has finished"
    ),
}


def unavailable_for(study: StudyView, action: str) -> str:
    """Return why an action on runs cannot be done with a study; empty if it can."""
    if study.problem:
        return "its record cannot be read"
    rule = RULES.get(action)
    return rule(study) if rule else NOT_OFFERED
