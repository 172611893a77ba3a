"""The command lines that the launcher runs and shows."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

from kmtard.runs.queue.task import Task


def dry_run_command(task: Task) -> list[str]:
    """Return the command for a dry run of a training."""
    return [*task.command(), "--dry-run=measure"]


def command_text(argv: Sequence[str]) -> str:
    """Return a command for a shell, with `python` for this Python."""
    words = ["python" if word == sys.executable else word for word in argv[:1]]
    return shlex.join([*words, *argv[1:]])
