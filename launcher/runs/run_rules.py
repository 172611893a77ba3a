"""What can be done with a run in each of its states, and why not."""

from __future__ import annotations

import shlex

from kmtard.runs import Run, RunError, safe_name
from kmtard.runs.signals import refusal

OFFERED = {
    "stop_run": ("running", "remote"),
    "resume_run": ("stopped", "failed", "crashed", "remote", "unknown"),
    "evaluate_run": None,
    "delete_run": None,
    "rename_run": None,
    "report_run": None,
    "robustness_run": None,
    "tag_run": None,
    "note_run": None,
}
"""Action -> the states of a run in which it is offered, or says why not; None: all."""


def check_resumable(run: Run) -> None:
    """Raise RunError, with the reason, unless the run can be resumed."""
    state = run.state()
    if state == "running":
        raise RunError(f"{run.name} is running.")
    if state in ("finished", "remote"):
        raise RunError(refusal(run, state))
    if state == "unknown":
        raise RunError(
            f"The owner of {run.name} is unknown: its run.json is missing or damaged. "
            "If no process works on it: python -m kmtard.fit --resume "
            + shlex.quote(str(run.path))
        )


def check_evaluable(run: Run) -> None:
    """Raise RunError, with the reason, unless the run's student can be evaluated."""
    state = run.state()
    if state == "remote":
        raise RunError(refusal(run, state))
    if state == "running":
        raise RunError(f"{run.name} is running: evaluate it after it has ended.")
    if not (run.best / "student.keras").is_file():
        raise RunError(
            f"{run.name} has no student to evaluate yet: expected best/student.keras, "
            "which the student's first epoch writes. Resume the run."
        )


def wrong_name(run: Run, text: str) -> str | None:
    """Return what is wrong with a new name of a run, or None."""
    if text == run.name:
        return "That is its name already."
    if (name := safe_name(text)) != text:
        return f"Use at most 60 letters, digits and ._- only, such as {name}"
    if run.path.with_name(name).exists():
        return f"There is a run {name} already."
    return None
