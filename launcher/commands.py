"""The command lines that the launcher runs and shows."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

from kmtard.runs.queue.task import Task
from kmtard.runs.study_task import StudyTask


def dry_run_command(task: Task) -> list[str]:
    """Return the command for a dry run of a training."""
    return [*task.command(), "--dry-run=measure"]


def plan_command(task: StudyTask, *, measure: bool = False) -> list[str]:
    """Return the command that tells what a study would take, line by line in JSON."""
    option = "--dry-run=measure" if measure else "--dry-run"
    return [*task.command(), option, "--json"]


def command_text(argv: Sequence[str]) -> str:
    """Return a command for a shell, with `python` for this Python."""
    words = ["python" if word == sys.executable else word for word in argv[:1]]
    return shlex.join([*words, *argv[1:]])
