"""Identify a process by its number and start time, since numbers are used again."""

from __future__ import annotations

from typing import Any


def process_start_time(pid: int) -> float | None:
    """Return when a process began, in seconds since the machine booted.

    Args:
        pid: number of the process.

    Returns:
        The start time; None if the process has ended or is a zombie.
    """
    # Imported here because it is slow, and runs that have ended do not need it.
    import psutil

    ended = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    try:
        while True:
            booted = psutil.boot_time()
            process = psutil.Process(pid)
            if process.status() in ended:
                return None
            started = process.create_time()
            # psutil returns the time of day, which changes when the clock is set. Run
            # folders store seconds since the boot, which stay the same.
            if psutil.boot_time() == booted:
                return float(round(started - booted, 2))
    except (psutil.Error, OSError, OverflowError, ValueError):
        return None


def is_same_process(pid: int, start: float | None) -> bool:
    """Return whether the process `pid` is alive and began at `start`.

    If `start` is None, the process cannot be identified and the answer is False.
    """
    return is_number(start) and process_start_time(pid) == start


def may_be_alive(pid: int, start: float | None) -> bool:
    """Return whether `pid` is alive; if `start` is known, it must match too."""
    if is_number(start):
        return is_same_process(pid, start)
    return process_start_time(pid) is not None


def is_number(value: Any) -> bool:
    """Return whether a value read from a file is a number (booleans are not)."""
    return isinstance(value, int | float) and not isinstance(value, bool)
