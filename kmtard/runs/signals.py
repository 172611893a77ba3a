"""Send signals to a run's process, and never to another process with its number."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from kmtard.runs import Run, RunError
from kmtard.runs.processes import is_same_process

REASONS = {
    "finished": "has already finished",
    "stopped": "has already stopped",
    "failed": "has already failed",
    "crashed": "has crashed, so it has no process",
    "unknown": "has no run.json that identifies its process",
}


def stop(run: Run) -> None:
    """Ask a run to finish its batch, save and exit.

    Raises:
        RunError: the run is not running on this host; the text says why.
    """
    terminate(*find(run))


def kill(run: Run) -> None:
    """End a run at once, together with the processes that it started.

    The work since its last checkpoint is lost.

    Raises:
        RunError: the run is not running on this host; the text says why.
    """
    kill_group(*find(run))


def find(run: Run) -> tuple[int, float | None]:
    """Return the number and the start time of a run's process.

    Raises:
        RunError: the run is not running on this host; the text says why.
    """
    state, info = run.state(), run.info()
    if state != "running":
        raise RunError(refusal(run, state))
    return info["pid"], info.get("process_start")


def terminate(pid: int, start: float | None) -> None:
    """Send SIGTERM to the process `pid` that began at `start`.

    Args:
        pid: number of the process.
        start: its start time, as returned by `process_start_time`.

    Raises:
        RunError: the process has ended, cannot be identified, or belongs to another
            user.
    """
    _signal(pid, start, lambda handle: _send(handle, signal.SIGTERM))


def kill_group(pid: int, start: float | None) -> None:
    """Send SIGKILL to the process `pid` that began at `start`, and to its group.

    Args:
        pid: number of the process.
        start: its start time, as returned by `process_start_time`.

    Raises:
        RunError: the process has ended, cannot be identified, or belongs to another
            user.
    """

    def send(handle: int) -> None:
        # A group that it does not lead belongs to the script or shell that started it.
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
        else:
            _send(handle, signal.SIGKILL)

    _signal(pid, start, send)


def refusal(run: Run, state: str) -> str:
    """Return why a run in this state cannot be sent a signal."""
    if state == "remote":
        return f"{run.name} is on {run.info().get('host')}: watch only."
    return f"{run.name} {REASONS.get(state, state)}."


def _send(handle: int, number: signal.Signals) -> None:
    signal.pidfd_send_signal(handle, number)


def _signal(pid: int, start: float | None, send: Callable[[int], None]) -> None:
    if start is None:
        raise RunError(
            f"The start time of process {pid} is unknown, so it may be a different "
            "process now. No signal was sent."
        )
    gone = RunError(f"Process {pid} has ended.")
    try:
        # The handle keeps referring to this process even if its number is used again.
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
