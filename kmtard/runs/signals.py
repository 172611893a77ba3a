"""Signals to the right process, and to no other."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from kmtard.runs import Run, RunError
from kmtard.runs.processes import is_same_process

REASONS = {
    "finished": "has finished",
    "stopped": "has stopped already",
    "failed": "has failed already",
    "crashed": "has no process any more",
    "unknown": "has no run.json that identifies its process",
}


def stop(run: Run) -> None:
    """Ask a run to finish its batch, save and exit.

    Raises:
        RunError: it does not run here; the text says why.
    """
    terminate(*find(run))


def kill(run: Run) -> None:
    """End a run at once, with the processes that it started.

    What it did since its last resume point is lost.

    Raises:
        RunError: it does not run here; the text says why.
    """
    kill_group(*find(run))


def find(run: Run) -> tuple[int, float | None]:
    """Return the process of a run, by its number and when it began.

    Raises:
        RunError: it does not run here; the text says why.
    """
    state, info = run.state(), run.info()
    if state != "running":
        raise RunError(refusal(run, state))
    return info["pid"], info.get("process_start")


def terminate(pid: int, start: float | None) -> None:
    """Send SIGTERM to the process `pid` that began at `start`.

    Raises:
        RunError: it is gone, or another user's.
    """
    _signal(pid, start, lambda handle: _send(handle, signal.SIGTERM))


def kill_group(pid: int, start: float | None) -> None:
    """Send SIGKILL to the process `pid` that began at `start`, and to its group.

    Raises:
        RunError: it is gone, or another user's.
    """

    def send(handle: int) -> None:
        # A group that it does not lead is that of the script or shell around it.
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
        else:
            _send(handle, signal.SIGKILL)

    _signal(pid, start, send)


def refusal(run: Run, state: str) -> str:
    """Return why nothing can be done to the process of a run in this state."""
    if state == "remote":
        return f"{run.name} is on {run.info().get('host')}: watch only."
    return f"{run.name} {REASONS.get(state, state)}."


def _send(handle: int, number: signal.Signals) -> None:
    signal.pidfd_send_signal(handle, number)


def _signal(pid: int, start: float | None, send: Callable[[int], None]) -> None:
    if start is None:
        raise RunError(
            f"Process {pid} may be another one by now: it is not known when it began. "
            "No signal was sent."
        )
    gone = RunError(f"Process {pid} has ended.")
    try:
        # The handle stays with this process, whoever gets its number next.
        handle = os.pidfd_open(pid)
    except OSError as error:
        raise gone from error
    try:
        if not is_same_process(pid, start):
            raise gone
        send(handle)
    except ProcessLookupError as error:
        raise gone from error
    except PermissionError as error:
        raise RunError(f"Process {pid} belongs to another user.") from error
    finally:
        os.close(handle)
