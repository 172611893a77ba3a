"""What each state of a run allows."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kmtard.runs import Run, RunError
from launcher.runs.run_rules import check_evaluable, check_resumable, wrong_name

MakeRun = Callable[..., Run]


@pytest.mark.parametrize("state", ["stopped", "failed", "crashed"])
def test_what_ended_early_can_be_resumed(make_run: MakeRun, state: str) -> None:
    check_resumable(make_run("a", state=state))


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("running", "a is running"),
        ("finished", "a has already finished"),
        ("remote", "a is on elsewhere: watch only"),
    ],
)
def test_the_others_cannot_be_resumed(
    make_run: MakeRun, state: str, reason: str
) -> None:
    with pytest.raises(RunError, match=reason):
        check_resumable(make_run("a", state=state))


def test_a_run_without_an_owner_is_resumed_by_hand(make_run: MakeRun) -> None:
    run = make_run("a", state="running")
    run.info_path.unlink()
    with pytest.raises(RunError, match=f"kmtard.fit --resume {run.path}"):
        check_resumable(run)


@pytest.mark.parametrize("state", ["stopped", "finished", "failed", "crashed"])
def test_a_student_can_be_evaluated_when_nobody_works_on_it(
    make_run: MakeRun, state: str
) -> None:
    run = make_run("a", state=state)
    with pytest.raises(RunError, match="no student to evaluate yet"):
        check_evaluable(run)
    (run.best / "student.keras").touch()
    check_evaluable(run)


@pytest.mark.parametrize("state", ["running", "remote"])
def test_a_run_that_goes_on_is_not_judged(make_run: MakeRun, state: str) -> None:
    run = make_run("a", state=state)
    (run.best / "student.keras").touch()
    with pytest.raises(RunError, match="a is"):
        check_evaluable(run)


@pytest.mark.parametrize(
    ("name", "mistake"),
    [
        ("c", None),
        ("実験-2", None),
        ("a", "That is its name"),
        ("b", "There is a run b already"),
        ("../c", "such as c"),
        ("", "such as run"),
        ("x" * 61, "such as " + "x" * 60),
    ],
)
def test_a_name_will_do_or_it_is_said_why_not(
    make_run: MakeRun, name: str, mistake: str | None
) -> None:
    run = make_run("a")
    make_run("b")
    found = wrong_name(run, name)
    assert found == mistake or (mistake and found and mistake in found)
