"""The command lines that the launcher runs and shows."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from kmtard.runs.queue.task import Task
from kmtard.runs.study_task import StudyTask


def dry_run_command(task: Task) -> list[str]:
    """Return the command for a dry run of a training."""
    return [*task.command(), "--dry-run=measure"]


def plan_command(task: StudyTask, *, measure: bool = False) -> list[str]:
    """Return the command that tells what a study would take, line by line in JSON."""
    option = "--dry-run=measure" if measure else "--dry-run"
    return [*task.command(), option, "--json"]


def command_text(argv: Sequence[str], folder: str | Path | None = None) -> str:
    """Return a command for a shell, with `python` for this Python.

    Args:
        argv: the command.
        folder: the folder that its paths are relative to; the working folder if None.
    """
    words = ["python" if word == sys.executable else word for word in argv[:1]]
    text = shlex.join([*words, *argv[1:]])
    if folder is None or os.path.abspath(folder) == os.getcwd():
        return text
    return f"cd {shlex.quote(str(folder))} && {text}"
