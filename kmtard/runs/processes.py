"""Which process is meant, when a number alone may have been given to another."""

from __future__ import annotations

import os
from pathlib import Path


def process_start_time(pid: int) -> float | None:
    """Return when a process began, in seconds since the machine booted.

    None for a process that is gone or a zombie, and on systems without /proc.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The name may hold spaces and parentheses: the third field follows the last ")".
    fields = stat[stat.rindex(b")") + 1 :].split()
    if fields[0] in (b"Z", b"X"):
        return None
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


def is_same_process(pid: int, start: float | None) -> bool:
    """Return whether the process `pid` lives and is the one that began at `start`.

    A start of None, from a system without /proc, leaves only whether `pid` lives.
    """
    if start is not None:
        return process_start_time(pid) == start
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except OverflowError:
        return False
    except OSError as error:
        return isinstance(error, PermissionError)
    return True
