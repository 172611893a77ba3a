"""Two executions of one recipe: what is compared, and what differs."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kmtard.runs import EventWriter, Run
from kmtard.runs.replay import compare
from tests.kmtard.runs.test_results import record
from tests.run_folders import MakeRun

pytestmark = pytest.mark.once("jax")


@pytest.fixture
def pair(make_run: MakeRun) -> Callable[..., tuple[Run, Run]]:
    """Return a function that makes a run and its replay, with changed content."""

    def make(
        change: Callable[[dict[str, Any]], object] = lambda content: None,
        **details: Any,
    ) -> tuple[Run, Run]:
        runs = make_run("first"), make_run("second", **details)
        content = record()
        runs[0].evaluation_path.write_text(json.dumps(content))
        content = copy.deepcopy(content)
        change(content)
        runs[1].evaluation_path.write_text(json.dumps(content))
        return runs

    return make


def test_equal_runs_are_the_same(pair: Callable[..., tuple[Run, Run]]) -> None:
    agreement = compare(*pair())
    assert agreement.is_same and not agreement.notes
    assert agreement.lines() == [
        "the same: 4 epochs of the clean teacher, 4 epochs of the robust teacher, "
        "4 epochs of the student, the evaluation on 4 images"
    ]


def test_the_use_of_the_machine_is_not_compared(
    pair: Callable[..., tuple[Run, Run]],
) -> None:
    first, second = pair()
    EventWriter(second.events_path).write(
        "system", seconds=10.0, metrics={"cpu": 99.0, "memory": 1e9}
    )
    agreement = compare(first, second)
    assert agreement.is_same and not agreement.notes


def test_the_first_epoch_that_differs_is_named(
    pair: Callable[..., tuple[Run, Run]],
) -> None:
    first, second = pair()
    text = second.events_path.read_text()
    events = [json.loads(line) for line in text.splitlines()]
    for event in events:
        # Without its checksum, a changed event is taken as it is.
        event.pop("crc32", None)
        if event.get("phase") == "student" and event.get("epoch", 0) > 2:
            event["metrics"]["loss"] += 1
            # Times are never the same.
            event["seconds"] += 1
    second.events_path.write_text("".join(json.dumps(e) + "\n" for e in events))
    agreement = compare(first, second)
    assert not agreement.is_same
    assert agreement.differing == ["student, epoch 3: loss 1.25 and 2.25"]
    assert agreement.lines()[0].startswith("not the same: 4 epochs")


def _other_answer(content: dict[str, Any]) -> None:
    score = content["networks"][-1]["attacks"]["pgd_trades"]
    score.update(predictions="0 1 0 1", accuracy=0.75, robust="1101")


def _other_weights(content: dict[str, Any]) -> None:
    content["networks"][-1]["weights"] = "other"


@pytest.mark.parametrize(
    "change, differing",
    [
        (
            _other_answer,
            "student, pgd_trades: 50.00 and 75.00 %, 1 images have different outcomes",
        ),
        (_other_weights, "student: the weights differ"),
    ],
)
def test_evaluations_are_compared_image_by_image(
    pair: Callable[..., tuple[Run, Run]], change: Any, differing: str
) -> None:
    assert compare(*pair(change)).differing == [differing]


def test_what_only_one_run_has_is_noted_and_no_difference(
    pair: Callable[..., tuple[Run, Run]],
) -> None:
    def without_fgsm(content: dict[str, Any]) -> None:
        for network in content["networks"]:
            del network["attacks"]["fgsm"]

    first, second = pair(
        without_fgsm, phases=("student",), revision="abc", versions={"jax": "0.11"}
    )
    agreement = compare(first, second)
    assert agreement.is_same
    assert agreement.notes == [
        "revision: unknown and abc",
        "version of jax: None and 0.11",
        f"clean teacher: trained only in {first.path}",
        f"robust teacher: trained only in {first.path}",
        f"clean teacher, fgsm: only in {first.evaluation_path}",
        f"clean teacher, worst case: only in {first.evaluation_path}",
        f"student, fgsm: only in {first.evaluation_path}",
        f"student, worst case: only in {first.evaluation_path}",
    ]


def test_more_epochs_are_a_difference(
    pair: Callable[..., tuple[Run, Run]],
) -> None:
    first, second = pair(done=3, phases=("student",))
    assert compare(first, second).differing == ["student: 4 and 3 epochs"]


def test_nothing_to_compare_is_not_the_same(tmp_path: Path) -> None:
    agreement = compare(Run(tmp_path / "a"), Run(tmp_path / "b"))
    assert not agreement.is_same
    assert agreement.lines()[0] == "not the same: nothing could be compared"
