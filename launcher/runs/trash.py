"""Runs that are deleted, restored or renamed."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from kmtard.runs import Run, RunError, safe_name
from kmtard.runs.signals import refusal

FOLDER = ".trash"


def delete(run: Run) -> Path:
    """Move a run to `.trash` beside it, and return its new folder.

    Raises:
        RunError: a process works on the run, or the folder cannot be written.
    """
    with _idle(run), _said(run.path):
        trash = run.path.parent / FOLDER
        trash.mkdir(exist_ok=True)
        return _move(run.path, trash)


def restore(path: Path) -> Run:
    """Move a run out of the trash and return it, numbered if its name is taken.

    Raises:
        RunError: the run is not there, or the folder cannot be written.
    """
    with _said(path):
        return Run(_move(path, path.parent.parent))


def trashed(runs_dir: Path) -> list[Path]:
    """Return the runs in the trash, the last one deleted first."""
    try:
        paths = list((runs_dir / FOLDER).iterdir())
        # Moving a folder updates its ctime.
        return sorted(paths, key=lambda path: -path.lstat().st_ctime_ns)
    except OSError:
        return []


def rename(run: Run, name: str) -> Run:
    """Rename a run to `safe_name` of a text, and return it.

    Raises:
        RunError: a process works on the run, the name is taken, or the folder cannot
            be written.
    """
    target = run.path.with_name(safe_name(name))
    with _idle(run), _said(run.path):
        if os.path.lexists(target):
            raise RunError(f"There is a run {target.name} already.")
        os.rename(run.path, target)
    return Run(target)


def check_idle(run: Run) -> None:
    """Raise RunError if a process works on a run, or may on another host."""
    with _idle(run):
        pass


def _move(path: Path, folder: Path) -> Path:
    for number in itertools.count(1):
        target = folder / (path.name if number == 1 else f"{path.name}-{number}")
        if not os.path.lexists(target):
            break
    os.rename(path, target)
    return target


@contextlib.contextmanager
def _idle(run: Run) -> Iterator[None]:
    """Lock a run against new owners; raise RunError if it has one."""
    state = run.state()
    if state == "remote":
        raise RunError(refusal(run, state))
    if state == "running":
        raise RunError(f"{run.name} is running: stop it first.")
    try:
        # The lock of `Run.claim`: a new owner may not have written run.json yet.
        descriptor = os.open(run.path / ".lock", os.O_RDWR)
    except FileNotFoundError:
        yield
        return
    except OSError as error:
        raise RunError(
            f"Cannot open {run.path / '.lock'}: {error.strerror}."
        ) from error
    try:
        with _in_use(run):
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _in_use(run: Run) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(f"{run.name}: a process uses this folder.") from error


@contextlib.contextmanager
def _said(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(f"Cannot move {path}: {error.strerror}.") from error
