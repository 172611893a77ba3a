"""The tasks of a queue, and the command lines that are built from them."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kmtard.runs.queue.task import Task, read_task, task_of

pytestmark = pytest.mark.once("torch")

TASKS = [
    Task.fit("a.toml"),
    Task.fit("my a.toml", method="mtard", overrides=["a.b=1", "c='x y'"], smoke=True),
    Task.fit("a.toml", overrides=["a.b=[1, 2]"]),
    Task.resume(Path("runs/a")),
    Task.evaluate("runs/a"),
    Task.evaluate("runs/a", attacks=["fgsm", "ge"], suite="paper"),
    Task.evaluate("runs/a", suite="paper"),
]


def test_fit_says_all_that_was_chosen() -> None:
    assert TASKS[1].command() == [
        *(sys.executable, "-m", "kmtard.fit", "my a.toml", "--method", "mtard"),
        *("--set", "a.b=1", "--set", "c='x y'", "--smoke"),
    ]
    assert TASKS[0].command()[1:] == ["-m", "kmtard.fit", "a.toml"]


def test_resume_and_evaluate_name_the_folder() -> None:
    assert TASKS[3].command()[1:] == ["-m", "kmtard.fit", "--resume", "runs/a"]
    assert TASKS[5].command()[1:] == [
        *("-m", "kmtard.evaluate", "runs/a"),
        *("--attacks", "fgsm,ge", "--suite", "paper"),
    ]
    assert TASKS[4].command()[1:] == ["-m", "kmtard.evaluate", "runs/a"]


def test_radii_are_kept_and_are_not_in_the_files_of_other_tasks() -> None:
    task = Task.evaluate("runs/a", attacks=["fgsm"], epsilons=["0", "8/255"])
    assert task.command()[3:] == [
        *("runs/a", "--attacks", "fgsm", "--epsilons", "0,8/255"),
    ]
    assert read_task(json.loads(json.dumps(task.as_json()))) == task
    assert "epsilons" not in Task.evaluate("runs/a").as_json()
    for wrong in ("0,1", "", "-1"):
        with pytest.raises(ValueError, match="received"):
            Task.evaluate("runs/a", epsilons=[wrong])
    with pytest.raises(ValueError, match="'epsilons'|`epsilons`"):
        replace(Task.fit("a.toml"), epsilons=("0",))


@pytest.mark.parametrize("task", TASKS)
def test_what_the_user_allowed_is_kept_and_not_part_of_the_work(task: Task) -> None:
    granted = replace(task, trust=True, imports=("my.parts", "others"))
    assert granted.command() == [
        *task.command(),
        *("--import", "my.parts", "--import", "others", "--trust"),
    ]
    assert read_task(json.loads(json.dumps(granted.as_json()))) == granted
    assert granted != task
    assert granted.is_same_work(task) and task.with_grants_of(granted) == granted
    # Versions that knew no such options read and sealed the same text.
    assert not {"trust", "imports"} & task.as_json().keys()
    # A command line of version 0.1 had none: it allows nothing.
    assert task_of(granted.command()) is None


@pytest.mark.parametrize(
    "changes", [{"trust": 1}, {"imports": "a"}, {"imports": ["--trust"]}, {"more": 1}]
)
def test_damaged_grants_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="received"):
        read_task({**TASKS[0].as_json(), **changes})


@pytest.mark.parametrize("task", TASKS)
def test_a_task_and_its_old_command_line_are_read_back(task: Task) -> None:
    assert read_task(json.loads(json.dumps(task.as_json()))) == task
    assert task_of(task.command()) == task
    assert task_of(["python", *task.command()[1:]]) == task


@pytest.mark.parametrize(
    "argv",
    [
        ["/bin/sh", "-c", "kmtard.fit", "a.toml"],
        ["sh", "-m", "kmtard.fit", "a.toml"],
        ["python", "-c", "print()", "a.toml"],
        ["python", "-m", "kmtard.fit"],
        ["python", "-m", "kmtard.report", "a"],
        ["python", "-m", "fit", "a.toml"],
        ["python", "-m", "kmtard.fit", "a.toml", "--trust"],
        ["python", "-m", "kmtard.fit", "--trust", "a.toml"],
        ["python", "-m", "kmtard.fit", "a.toml", "--smoke", "--method", "x"],
        ["python", "-m", "kmtard.fit", "a.toml", "--method", "x", "--method", "y"],
        ["python", "-m", "kmtard.fit", "a.toml", "--set"],
        ["python", "-m", "kmtard.fit", "--resume", "a", "b"],
        ["python", "-m", "kmtard.evaluate", "a", "--output", "/etc"],
        ["python", "-m", "kmtard.evaluate", "a", "--attacks", ""],
        ["python\n/bin/sh", "-m", "kmtard.fit", "a.toml"],
        [],
    ],
)
def test_every_other_command_is_none_of_ours(argv: list[str]) -> None:
    assert task_of(argv) is None


@pytest.mark.parametrize(
    "values",
    [
        {"action": "sh", "target": "a"},
        {"action": "fit", "target": "--resume"},
        {"action": "fit", "target": ""},
        {"action": "fit", "target": "a\0b"},
        {"action": "fit", "target": "a", "overrides": ("--trust",)},
        {"action": "fit", "target": "a", "method": "-x"},
        {"action": "fit", "target": "a", "suite": "paper"},
        {"action": "resume", "target": "a", "smoke": True},
        {"action": "evaluate", "target": "a", "method": "x"},
        {"action": "evaluate", "target": "a", "attacks": ("a,b",)},
    ],
)
def test_a_task_that_is_none_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="received|Received"):
        Task(**values)


def test_a_file_that_looks_like_an_option_stays_a_file() -> None:
    assert Task.fit("-x.toml").command()[3] == "./-x.toml"
