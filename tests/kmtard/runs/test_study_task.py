"""What a study was asked for, and the command line that is built from it."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from kmtard.runs.study_task import StudyTask, read_study_task

pytestmark = pytest.mark.once("torch")

FULL = StudyTask(
    recipe="a b.toml",
    name="beta",
    methods=("mtard", "own:Method"),
    seeds=(0, 3),
    axes=("attack.steps=2",),
    overrides=("runtime.jit=false",),
    only=("s0",),
    smoke=True,
    on="slurm",
    jobs=2,
    trust=True,
    imports=("own",),
)


def test_the_command_says_all_that_was_chosen() -> None:
    assert FULL.command() == [
        *(sys.executable, "-m", "kmtard.study", "a b.toml", "beta"),
        *("--methods", "mtard,own:Method", "--seeds", "0,3"),
        *("--axis", "attack.steps=2", "--set", "runtime.jit=false", "--only", "s0"),
        *("--smoke", "--on", "slurm", "--jobs", "2", "--import", "own", "--trust"),
    ]
    assert FULL.without_grants().command() == FULL.command()[:-3]
    bare = StudyTask(recipe="a.toml")
    assert bare.command()[1:] == ["-m", "kmtard.study", "a.toml"]


@pytest.mark.parametrize("task", [FULL, StudyTask(recipe="a.toml")])
def test_a_task_is_read_back(task: StudyTask) -> None:
    assert read_study_task(json.loads(json.dumps(task.as_json()))) == task


@pytest.mark.parametrize(
    "changes",
    [
        {"recipe": 1},
        {"recipe": ""},
        {"recipe": "--trust"},
        {"name": "--trust"},
        {"methods": "all"},
        {"methods": [1]},
        {"overrides": ["--trust"]},
        {"seeds": ["0"]},
        {"seeds": [-1]},
        {"smoke": 1},
        {"on": "cloud"},
        {"jobs": "2"},
        {"trust": "yes"},
        {"imports": ["a\0b"]},
        {"more": 1},
    ],
)
def test_what_is_no_task_is_refused(changes: dict[str, Any]) -> None:
    values = {**StudyTask(recipe="a.toml").as_json(), **changes}
    with pytest.raises(ValueError, match="received|Received"):
        read_study_task(values)


def test_no_key_may_be_missing() -> None:
    values = FULL.as_json()
    del values["trust"]
    with pytest.raises(ValueError, match="with the keys"):
        read_study_task(values)
