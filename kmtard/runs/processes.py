"""Which process is meant, when a number alone may have been given to another."""

from __future__ import annotations

from typing import Any


def process_start_time(pid: int) -> float | None:
    """Return when a process began, in seconds since the machine booted.

    None for a process that is gone or a zombie.
    """
    # Most runs have ended: reading them needs no process, and importing this is slow.
    import psutil

    ended = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    try:
        while True:
            booted = psutil.boot_time()
            process = psutil.Process(pid)
            if process.status() in ended:
                return None
            started = process.create_time()
            # psutil gives the time of day, which changes when the clock is set. Run
            # folders hold seconds since the boot, which do not.
            if psutil.boot_time() == booted:
                return float(round(started - booted, 2))
    except (psutil.Error, OSError, OverflowError, ValueError):
        return None


def is_same_process(pid: int, start: float | None) -> bool:
    """Return whether the process `pid` lives and is the one that began at `start`.

    Without a start there is no identity: the answer is False.
    """
    return is_number(start) and process_start_time(pid) == start


def may_be_alive(pid: int, start: float | None) -> bool:
    """Return whether `pid` lives and nothing says that it is another process."""
    if is_number(start):
        return is_same_process(pid, start)
    return process_start_time(pid) is not None


def is_number(value: Any) -> bool:
    """Return whether a value of a file is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)
