"""Studies with runs, away from the user's own files."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from kmtard.runs.queue.queue import Queue
from kmtard.runs.queue.task import Task
from kmtard.runs.studies import StudyCell, StudyFolder, StudyRecord
from kmtard.runs.study_task import StudyTask
from tests.run_folders import evaluated, make_run

__all__ = ["evaluated", "make_run", "make_study"]

MakeStudy = Callable[..., StudyFolder]


def cell_task(method: str, seed: int) -> Task:
    """Return what the queue does for a cell."""
    return Task.fit("a.toml", method=method, overrides=[f"runtime.seed={seed}"])


@pytest.fixture
def make_study(tmp_path: Path) -> MakeStudy:
    """Return a function that writes the record of a study.

    Its cells are triples of a method, a seed and the folder of a run or None.
    """

    def make(
        cells: Sequence[tuple[str, int, Path | None]],
        *,
        name: str = "a-table3-1234",
        task: StudyTask | None = None,
        own: bool = True,
    ) -> StudyFolder:
        folder = StudyFolder.beside(tmp_path / "runs", name)
        task = task or StudyTask(recipe="a.toml", seeds=(0, 1))
        cwd = os.getcwd()
        made = [
            StudyCell(
                name=f"{method},s{seed}",
                method=method,
                seed=seed,
                key=f"{method}-s{seed}",
                run=run.name if run else None,
                task=cell_task(method, seed).as_json(),
            )
            for method, seed, run in cells
        ]
        folder.write(
            StudyRecord(
                name=name,
                recipe="a.toml",
                cells=made,
                task=task,
                cwd=cwd,
                seal=folder.sealed(task, cwd) if own else "0" * 64,
            )
        )
        return folder

    return make


def queue_of(folder: StudyFolder) -> Queue:
    """Return the queue of the runs of a study."""
    return Queue(folder.runs_dir)
