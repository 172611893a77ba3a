"""The code of a SLURM job: start or resume one cell in a process of its own."""

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

from kmtard.registry import modules
from kmtard.runs import Run, RunError, write_atomic
from kmtard.runs.queue.task import Task
from kmtard.study.progress import Finder

PAUSE = 0.5  # seconds between two looks at the child
PATIENCE = 60.0  # seconds to wait for SLURM's answer, and for its signal
ATTEMPTS = 5  # a busy controller often answers the next time
RETRY = 10.0  # seconds before each of them
# SLURM sends the signal that means "continue later" to every process of the job. The
# training handles only SIGTERM.
START = "trap '' USR2; exec \"$@\""


class Listed(NamedTuple):
    """A job in the list of `squeue`."""

    state: str
    name: str


def listed_jobs() -> dict[str, Listed]:
    """Return this user's waiting and running jobs, by number.

    Raises:
        RunError: SLURM does not answer, even after several attempts.
    """
    jobs = {}
    for line in _asked().splitlines():
        number, state, name = line.split("|", 2)
        jobs[number] = Listed(state, name)
    return jobs


def _asked() -> str:
    """Return what `squeue` prints."""
    command = ["squeue", "--me", "--noheader", "--format=%A|%T|%j"]
    left = ATTEMPTS
    while True:
        left -= 1
        try:
            return subprocess.run(
                command, capture_output=True, text=True, timeout=PATIENCE, check=True
            ).stdout
        except (OSError, subprocess.SubprocessError) as error:
            # A missing command does not come back.
            if left and not isinstance(error, OSError):
                time.sleep(RETRY)
                continue
            told = getattr(error, "stderr", None) or str(error)
            if isinstance(told, bytes):  # that of a timeout
                told = told.decode(errors="replace")
            raise RunError(
                f"SLURM does not answer `{' '.join(command)}`: {told.strip()}"
            ) from error


def was_of_slurm(run: Run) -> str | None:
    """Return the number of the SLURM job that owned a run; None without a job."""
    number = run.info().get("slurm_job")
    return number if isinstance(number, str) else None


@dataclass(frozen=True)
class Job:
    """A callable that submitit starts on a node, and again after a preemption.

    Attributes:
        task: the task that starts the run.
        runs_dir: folder of the runs.
        key: the key that all runs of the cell share; see `grid.run_key`.
        ignored: names of runs to ignore.
    """

    task: Task
    runs_dir: Path
    key: str
    ignored: frozenset[str] = frozenset()

    def __call__(self) -> str:
        """Start or resume the run, and return the path of its folder.

        Raises:
            RunError: the run ended without finishing.
        """
        run = self._run()
        if run is not None and run.state() == "finished":
            return str(run.path)
        # The first task owns the run, the others only take part in it.
        if run is not None and os.environ.get("SLURM_PROCID", "0") == "0":
            _take_over(run)
        task = self.task
        if run is not None:
            task = Task.resume(run.path).with_grants_of(self.task)
        child = subprocess.Popen(["/bin/sh", "-c", START, "sh", *task.command()])
        object.__setattr__(self, "_child", child.pid)
        while child.poll() is None:
            time.sleep(PAUSE)
        run = self._run()
        state = run.state() if run is not None else "not started"
        if state == "stopped":
            _requeue()
        if run is None or state != "finished":
            where = f" {run.path}" if run else ""
            raise RunError(
                f"The run{where} is {state}; its process ended with {child.returncode}."
            )
        return str(run.path)

    def checkpoint(self) -> Any:
        """Let the training save, and return the job that submitit starts next."""
        import submitit

        child: int | None = getattr(self, "_child", None)
        if child is not None:
            _end(child)
        # A copy has no child process, so that submitit can pickle it.
        return submitit.helpers.DelayedSubmission(replace(self))

    def _run(self) -> Run | None:
        # Without its code, the recipe of a run could not be read here.
        for module in self.task.imports:
            modules.allow(module)
        return Finder(self.runs_dir, self.ignored).newest().get(self.key)


def _end(pid: int) -> None:
    """Ask a child to save and exit, and wait for it.

    A signal handler calls this. It may have interrupted `Popen.wait` while that held
    its lock, so this waits through the kernel instead.
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


def _requeue() -> None:
    """Requeue the job if SLURM, and not the user, stopped the training.

    Some clusters preempt a job with SIGTERM instead of submitit's signal. The training
    receives it too. A job that the user canceled is no longer in the state RUNNING.
    """
    number = os.environ.get("SLURM_JOB_ID", "")
    listed = listed_jobs().get(number)
    if listed is not None and listed.state == "RUNNING":
        os.kill(os.getpid(), signal.SIGUSR2)
        time.sleep(PATIENCE)


def _take_over(run: Run) -> None:
    """Take over a run from a node where its process has certainly ended.

    Raises:
        RunError: the job that owns the run is still active.
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
