"""The command lines that the user interface runs, as one could type them."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

from kmtard.runs.queue.task import Task


def dry_run_command(task: Task) -> list[str]:
    """Return the command that shows what a training would do."""
    return [*task.command(), "--dry-run=measure"]


def command_text(argv: Sequence[str]) -> str:
    """Return a command as one types it in a shell, where this Python is `python`."""
    words = ["python" if word == sys.executable else word for word in argv[:1]]
    return shlex.join([*words, *argv[1:]])
