"""What runs in a job of SLURM: one cell, begun or resumed, in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from kmtard.runs import Run, RunError, write_atomic
from kmtard.runs.queue.task import Task
from kmtard.study.progress import Finder

PAUSE = 0.5  # seconds between two looks at the child
PATIENCE = 60.0  # seconds for SLURM's answer, and for its signal
# SLURM sends the signal that means "go on later" to every process of the job. The
# training knows SIGTERM alone.
START = "trap '' USR2; exec \"$@\""


class Listed(NamedTuple):
    """A job as SLURM lists it."""

    state: str
    name: str


def listed_jobs() -> dict[str, Listed]:
    """Return this user's jobs that wait or run, by their numbers.

    Raises:
        RunError: SLURM does not answer.
    """
    command = ["squeue", "--me", "--noheader", "--format=%A|%T|%j"]
    try:
        asked = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        told = (getattr(error, "stderr", None) or str(error)).strip()
        raise RunError(
            f"SLURM does not answer `{' '.join(command)}`: {told}"
        ) from error
    jobs = {}
    for line in asked.stdout.splitlines():
        number, state, name = line.split("|", 2)
        jobs[number] = Listed(state, name)
    return jobs


def was_of_slurm(run: Run) -> str | None:
    """Return the number of the SLURM job that owned a run; None if none did."""
    number = run.info().get("slurm_job")
    return number if isinstance(number, str) else None


@dataclass(frozen=True)
class Job:
    """A callable that submitit starts on a node, and again after a preemption.

    Attributes:
        task: that begins the run.
        runs_dir: folder of the runs.
        key: what the runs of the cell have in common.
        ignored: names of runs that do not count.
    """

    task: Task
    runs_dir: Path
    key: str
    ignored: frozenset[str] = frozenset()

    def __call__(self) -> str:
        """Begin the run or resume it, and return the path of its folder.

        Raises:
            RunError: it has not finished.
        """
        run = self._run()
        if run is not None and run.state() == "finished":
            return str(run.path)
        # The first task owns the run, the others only take part in it.
        if run is not None and os.environ.get("SLURM_PROCID", "0") == "0":
            _take_over(run)
        task = self.task if run is None else Task.resume(run.path)
        child = subprocess.Popen(["/bin/sh", "-c", START, "sh", *task.command()])
        object.__setattr__(self, "_child", child.pid)
        while child.poll() is None:
            time.sleep(PAUSE)
        run = self._run()
        state = run.state() if run is not None else "not begun"
        if state == "stopped":
            _go_on_later()
        if run is None or state != "finished":
            where = f" {run.path}" if run else ""
            raise RunError(
                f"The run{where} is {state}; its process ended with {child.returncode}."
            )
        return str(run.path)

    def checkpoint(self) -> Any:
        """Let the training save, and return what submitit starts next time."""
        import submitit

        child: int | None = getattr(self, "_child", None)
        if child is not None:
            _end(child)
        # Without the child, which is no part of what is written.
        return submitit.helpers.DelayedSubmission(replace(self))

    def _run(self) -> Run | None:
        return Finder(self.runs_dir, self.ignored).newest().get(self.key)


def _end(pid: int) -> None:
    """Ask a child to save and to exit, and wait for it.

    This is called within a handler of signals, which may have interrupted the very
    lock of `Popen.wait`: the kernel is asked instead.
    """
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(handle, signal.SIGTERM)
            poll = select.poll()
            poll.register(handle, select.POLLIN)
            poll.poll()
        finally:
            os.close(handle)


def _go_on_later() -> None:
    """Ask for another turn where SLURM, and not the user, stopped the training.

    Clusters that do not send the signal of submitit when they preempt a job send
    SIGTERM, which the training gets as well. A job that the user cancels completes.
    """
    number = os.environ.get("SLURM_JOB_ID", "")
    listed = listed_jobs().get(number)
    if listed is not None and listed.state == "RUNNING":
        os.kill(os.getpid(), signal.SIGUSR2)
        time.sleep(PATIENCE)


def _take_over(run: Run) -> None:
    """Take a run from a node where its process has certainly ended.

    Raises:
        RunError: the job that owns it goes on.
    """
    number = was_of_slurm(run)
    if run.state() != "remote" or number is None:
        return
    if number != os.environ.get("SLURM_JOB_ID") and number in listed_jobs():
        raise RunError(
            f"Run {run.path} belongs to job {number}, which is still running. Wait for "
            f"it, or cancel it first: scancel {number}"
        )
    info: Mapping[str, Any] = run.info()
    left = {k: v for k, v in info.items() if k not in ("pid", "process_start", "host")}
    write_atomic(run.info_path, json.dumps(left, indent=2) + "\n")
