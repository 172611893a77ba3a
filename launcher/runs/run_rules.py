"""What can be done to a run in each of its states, and why not."""

from __future__ import annotations

import shlex

from kmtard.runs import Run, RunError, safe_name
from kmtard.runs.signals import refusal

OFFERED = {
    "stop_run": ("running", "remote"),
    "kill_run": ("running", "remote"),
    "resume_run": ("stopped", "failed", "crashed", "remote", "unknown"),
    "evaluate_run": None,
    "delete_run": None,
    "rename_run": None,
    "report_run": None,
}
"""Action -> states of a run that it is offered in, be it to say why not; None: any."""


def check_resumable(run: Run) -> None:
    """Raise RunError, which says why, unless the run can be resumed."""
    state = run.state()
    if state == "running":
        raise RunError(f"{run.name} is running.")
    if state in ("finished", "remote"):
        raise RunError(refusal(run, state))
    if state == "unknown":
        raise RunError(
            f"It is not known who works on {run.name}: its run.json is missing or "
            "damaged. If nobody does: python -m kmtard.fit --resume "
            + shlex.quote(str(run.path))
        )


def check_judgeable(run: Run) -> None:
    """Raise RunError, which says why, unless the run's student can be judged."""
    state = run.state()
    if state == "remote":
        raise RunError(refusal(run, state))
    if state == "running":
        raise RunError(f"{run.name} is running: evaluate it when it has ended.")
    if not (run.best / "student.keras").is_file():
        raise RunError(
            f"{run.name} has no student to judge yet: expected best/student.keras, "
            "which is there after the student's first epoch. Resume the run."
        )


def wrong_name(run: Run, text: str) -> str | None:
    """Return what is wrong with a new name of a run; None if it will do."""
    if text == run.name:
        return "That is its name."
    if (name := safe_name(text)) != text:
        return f"Letters, digits and ._- only, 60 at most. For example: {name}"
    if run.path.with_name(name).exists():
        return f"There is a run {name} already."
    return None
