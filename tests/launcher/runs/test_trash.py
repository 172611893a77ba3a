"""Runs are put away, brought back and renamed, none is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kmtard.runs import Run, RunError
from launcher.runs import trash

MakeRun = Callable[..., Run]

HOLD = """
import sys, time
from kmtard.runs.files import lock_for_life
lock_for_life(sys.argv[1])
print(flush=True)
time.sleep(60)
"""


def content(path: Path) -> dict[str, bytes]:
    files = (file for file in path.rglob("*") if file.is_file())
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


@pytest.mark.parametrize("state", ["finished", "stopped", "failed", "crashed"])
def test_a_deleted_run_comes_back_whole(make_run: MakeRun, state: str) -> None:
    run = make_run("a", state=state)
    before = content(run.path)
    place = trash.delete(run)
    assert place == run.path.parent / ".trash" / "a"
    assert not run.path.exists()
    assert trash.restore(place).path == run.path
    assert content(run.path) == before
    assert trash.trashed(run.path.parent) == []


def test_names_in_the_trash_and_out_of_it_do_not_meet(make_run: MakeRun) -> None:
    places = [trash.delete(make_run("a")) for _ in range(3)]
    assert [place.name for place in places] == ["a", "a-2", "a-3"]
    assert trash.trashed(places[0].parents[1]) == places[::-1]
    make_run("a")
    assert trash.restore(places[0]).name == "a-2"


@pytest.mark.parametrize(
    ("state", "reason"), [("running", "stop it first"), ("remote", "on elsewhere")]
)
def test_a_run_that_somebody_works_on_stays(
    make_run: MakeRun, state: str, reason: str
) -> None:
    run = make_run("a", state=state)
    for action in (trash.delete, lambda run: trash.rename(run, "b")):
        with pytest.raises(RunError, match=reason):
            action(run)
    assert run.path.is_dir()


def test_a_run_that_is_just_being_claimed_stays(make_run: MakeRun) -> None:
    run = make_run("a")
    # The file that this process locked as it made the run stays locked.
    (run.path / ".lock").unlink()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run.path / ".lock")],
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(RunError, match="a process uses this folder"):
            trash.delete(run)
    finally:
        holder.kill()
        holder.communicate()
    trash.delete(run)


def test_a_run_gets_another_name(make_run: MakeRun) -> None:
    run = make_run("a")
    before = content(run.path)
    renamed = trash.rename(run, "b")
    assert (renamed.name, run.path.exists()) == ("b", False)
    assert content(renamed.path) == before


def test_a_name_that_is_taken_is_refused(make_run: MakeRun) -> None:
    run, other = make_run("a"), make_run("b")
    with pytest.raises(RunError, match="a run b already"):
        trash.rename(run, "b")
    assert run.path.is_dir() and other.path.is_dir()


@pytest.mark.parametrize("name", ["../x", "/abs", "..", "a/b", "\0"])
def test_a_name_does_not_leave_the_folder(make_run: MakeRun, name: str) -> None:
    run = make_run("run-1")
    assert trash.rename(run, name).path.parent == run.path.parent


def test_a_folder_that_cannot_be_written_is_said(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run("a")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "rename", refuse)
    for action in (trash.delete, lambda run: trash.rename(run, "b")):
        with pytest.raises(RunError, match="Permission denied"):
            action(run)
    assert run.path.is_dir()


def test_what_is_not_in_the_trash_cannot_come_back(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="No such file"):
        trash.restore(tmp_path / ".trash" / "a")
    assert trash.trashed(tmp_path) == []
