"""Run folders that are moved or deleted while a process uses them, or claimed twice."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from kmtard.commands.fit import main
from kmtard.runs import Run
from tests.reliability.children import Children
from tests.reliability.conftest import Unbroken
from tests.reliability.same_end import check_same
from tests.reliability.server import prepare
from tests.run_folders import make_run

pytestmark = pytest.mark.once("jax")

__all__ = ["make_run"]

PLACES = (
    *("append events.jsonl", "open npz", "write npz", "rename npz"),
    *("write student.keras", "open png", "open evaluation.json"),
)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["move", "remove"])
@pytest.mark.parametrize("place", PLACES)
def test_a_removed_folder_is_reported_and_not_created_again(
    children: Children, unbroken: Unbroken, tmp_path: Path, place: str, kind: str
) -> None:
    prepare(tmp_path)
    numbers = unbroken.places()[place]
    fault = {"kind": kind, "at": numbers[len(numbers) // 2]}
    ended = children("fit", "tiny.toml", cwd=tmp_path, fault=fault)
    assert ended.code == 1, ended.text
    assert "Traceback" not in ended.text, ended.text
    assert "there is no folder" in ended.text.replace("\n", " "), ended.text
    assert list((tmp_path / "runs").iterdir()) == []
    if kind == "remove":
        return
    back = tmp_path / "runs" / unbroken.run.name
    (tmp_path / "moved").rename(back)
    assert Run(back).state() == "crashed"
    ended = children("fit", "--resume", back, cwd=tmp_path)
    assert ended.code == 0, ended.text
    check_same(unbroken, tmp_path)


@pytest.mark.slow
def test_the_second_of_two_processes_is_refused(
    children: Children, unbroken: Unbroken, tmp_path: Path
) -> None:
    prepare(tmp_path)
    at = unbroken.places()["write student.keras"][0]
    children.resume(tmp_path, fault={"kind": "kill", "at": at})
    run = tmp_path / "runs" / unbroken.run.name
    told: list[str] = []
    with Children(tmp_path / "printed") as others:

        def resume_too(pid: int) -> None:
            if not told:
                os.kill(pid, signal.SIGSTOP)
                try:
                    until_claimed(pid, Run(run))
                    ended = others("fit", "--resume", run, cwd=tmp_path)
                finally:
                    os.kill(pid, signal.SIGCONT)
                assert ended.code == 1, ended.text
                assert "Traceback" not in ended.text
                told.append(ended.text)

        ended = children("fit", "--resume", run, cwd=tmp_path, watch=resume_too)
    assert ended.code == 0, ended.text
    assert "another process uses this folder" in told[0].replace("\n", " ")
    check_same(unbroken, tmp_path)


def until_claimed(pid: int, run: Run) -> None:
    """Let the first process run until it owns the run, and pause it there."""
    while run.info().get("pid") != pid:
        os.kill(pid, signal.SIGCONT)
        os.sched_yield()
        os.kill(pid, signal.SIGSTOP)


@pytest.mark.parametrize("student", [None, b"", b"PK\x03\x04 torn"])
def test_a_finished_run_without_its_student_stays_finished(
    make_run: Any, student: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run()
    if student is not None:
        (run.best / "student.keras").write_bytes(student)
    events, info = run.events_path.read_bytes(), run.info_path.read_bytes()
    assert main(["--resume", str(run.path)]) == 1
    assert "student.keras" in capsys.readouterr().err.replace("\n", "")
    assert run.state() == "finished"
    assert run.events_path.read_bytes() == events
    assert run.info_path.read_bytes() == info


def test_a_folder_copied_from_a_killed_run_has_no_leftovers(make_run: Any) -> None:
    run = make_run(state="crashed")
    left = [
        run.best / ".tmp-student.keras",
        run.best / ".tmp-0123abcd-student.keras",
        run.path / ".tmp-0123abcd-run.json",
    ]
    for path in left:
        path.write_bytes(b"half")
    theirs = run.path / ".tmp-0123abcd-evaluation.json"
    theirs.write_bytes(b"an evaluation may be at work")
    run.claim({})
    assert not any(path.exists() for path in left)
    assert theirs.exists()
    shutil.rmtree(run.path)
