"""SLURM as a place for runs: one job per cell, submitted through submitit."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kmtard.recipe.schema import Slurm as Settings
from kmtard.runs import Run, RunError
from kmtard.runs.files import read_regular
from kmtard.study.grid import Cell
from kmtard.study.job import Job, Listed, listed_jobs, was_of_slurm
from kmtard.study.place import Order

if TYPE_CHECKING:
    import submitit

WAITING = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED")
MINUTE = 60


class Slurm:
    """SLURM jobs, identified by their names.

    The result of a job is read from its run folder. `squeue` shows whether it waits or
    runs. SLURM's accounting is not needed.

    Args:
        runs_dir: folder of the runs, on a file system that the nodes share.
        settings: the resources of each job.
        folder: folder for the files of the jobs.
        ignored: names of runs to ignore.
    """

    def __init__(
        self,
        runs_dir: Path,
        settings: Settings,
        folder: Path,
        ignored: Collection[str] = (),
    ) -> None:
        self.runs_dir = Path(os.path.abspath(runs_dir))
        self.settings = settings
        self.folder = Path(os.path.abspath(folder))
        self.ignored = frozenset(ignored)
        self._jobs: dict[str, Listed] = {}
        self._numbers: dict[str, str] = {}

    def look(self) -> None:
        """Ask SLURM for the waiting and running jobs."""
        self._jobs = listed_jobs()

    def state(self, cell: Cell, run: Run | None) -> str:
        """Return the state of the cell's job.

        Returns:
            "waiting" or "running" for a job in the list of `squeue`, "failed" if a
            submitted job is gone without any run, and an empty text otherwise.
        """
        number = self._number(cell)
        if number is not None:
            is_waiting = self._jobs[number].state in WAITING
            return "waiting" if is_waiting else "running"
        return "failed" if cell.key in self._numbers and run is None else ""

    def is_gone(self, run: Run) -> bool:
        """Return whether the SLURM job that owned the run is no longer listed."""
        number = was_of_slurm(run)
        return number is not None and number not in self._jobs

    def submit(self, orders: Sequence[Order]) -> None:
        """Submit one job per cell. A job starts after those that train its teachers.

        Raises:
            RunError: submitit or SLURM is missing, or SLURM refuses a job.
        """
        for order in orders:
            cell = order.cell
            executor = self._executor(order)
            job = Job(cell.task, self.runs_dir, cell.key, self.ignored)
            try:
                self._numbers[cell.key] = executor.submit(job).job_id
            except Exception as error:  # submitit wraps sbatch's error in several types
                reason = str(error).strip().splitlines()[-1]
                raise RunError(f"SLURM refused {cell.name}: {reason}") from error

    def last_line(self, cell: Cell, run: Run | None) -> str:
        """Return the last line of the job's output."""
        del run
        number = self._numbers.get(cell.key)
        log = self.folder / str(number) / f"{number}_0_log.err"
        with contextlib.suppress(OSError):
            lines = read_regular(log).decode(errors="replace").split("\n")
            return next((line for line in reversed(lines) if line.strip()), "")
        return ""

    def advice(self) -> str:
        """Say what continues and how to stop it."""
        return (
            "The jobs continue without this command. Repeat the command to watch them "
            "and to get the table. `squeue --me` lists the jobs and `scancel` stops "
            "them."
        )

    def _name(self, cell: Cell) -> str:
        """Return the name that identifies the job of a cell."""
        about = f"{os.path.realpath(self.runs_dir)}\n{cell.key}"
        return f"kmtard-{hashlib.sha256(about.encode()).hexdigest()[:16]}"

    def _number(self, cell: Cell) -> str | None:
        name = self._name(cell)
        found = (each for each, job in self._jobs.items() if job.name == name)
        return next(found, None)

    def _executor(self, order: Order) -> submitit.AutoExecutor:
        try:
            import submitit
        except ImportError as error:
            raise RunError(
                "Running on SLURM needs submitit, which is not installed: "
                "pip install 'kmtard[slurm]'"
            ) from error
        if shutil.which("sbatch") is None:
            raise RunError(
                "Expected SLURM's command `sbatch` on this machine, which was not "
                "found. Run this on a login node, or leave out --on slurm."
            )
        settings = self.settings
        executor = submitit.AutoExecutor(
            folder=self.folder / "%j",
            cluster="slurm",
            slurm_max_num_timeout=settings.max_timeouts,
        )
        # The number of a cell that runs already comes from squeue.
        before = [self._numbers.get(c.key) or self._number(c) for c in order.after]
        after = ":".join(number for number in before if number)
        asked: dict[str, Any] = {
            "timeout_min": math.ceil(settings.hours * MINUTE),
            "nodes": settings.nodes,
            # JAX finds the processes of a run by the variables of their tasks.
            "tasks_per_node": order.cell.recipe.runtime.processes // settings.nodes,
            "cpus_per_task": settings.cpus,
            "gpus_per_node": settings.gpus or None,
            "mem_gb": settings.memory,
            "slurm_partition": settings.partition,
            "slurm_account": settings.account,
            "slurm_qos": settings.qos,
            "slurm_constraint": settings.constraint,
            "slurm_signal_delay_s": settings.grace,
            "slurm_dependency": f"afterany:{after}" if after else None,
            "slurm_additional_parameters": {"requeue": True},
        }
        asked = {key: value for key, value in asked.items() if value is not None}
        executor.update_parameters(name=self._name(order.cell), **asked)
        return executor
