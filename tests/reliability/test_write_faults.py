"""Writes that fail: the run says which file and why, and goes on bit for bit later."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.reliability.children import Children, Ended, leftovers, only_run
from tests.reliability.conftest import Unbroken
from tests.reliability.faults import ERRORS
from tests.reliability.seeds import seeded, seeds
from tests.reliability.server import prepare
from tests.run_facts import facts

pytestmark = pytest.mark.once("jax")

REASONS = {
    "short": "No space left on device",
    "ENOSPC": "No space left on device",
    "EIO": "Input/output error",
    "EACCES": "Permission denied",
}
FOLDERS = ("best", "teachers", "clean", "fgsm", "student", "adv_teacher")


def check(children: Children, unbroken: Unbroken, folder: Path, fault: Any) -> None:
    """Let one write fail, look at what is said, and go on without the fault."""
    place = unbroken.operations[fault["at"] - 1]
    prepare(folder)
    ended = children("fit", "tiny.toml", cwd=folder, fault=fault)
    operation, name = place.split()
    if operation == "flush" and "." not in name:
        # The name of a folder: its content is safe, and nearly so is the name.
        pass
    elif operation == "flush" and name.endswith("-tiny"):
        pass
    else:
        check_said(ended, name, REASONS[fault["kind"]])
    assert "Traceback" not in ended.text, ended.text
    if ended.code:
        states = [run.state() for run in [only_run(folder)] if run.info()]
        assert set(states) <= {"failed", "crashed"}
        ended = children.go_on(folder)
        assert ended.code == 0, ended.text
    run = only_run(folder)
    assert run.state() == "finished"
    found = facts(run, repeats=True)
    assert [key for key in found if found[key] != unbroken.facts.get(key)] == []
    assert found.keys() == unbroken.facts.keys()
    assert leftovers(folder) == []


def check_said(ended: Ended, name: str, reason: str) -> None:
    assert ended.code == 1, ended.text
    text = ended.text.replace("\n", "")
    assert re.search(f"{re.escape(name)}.*{reason}", text), ended.text


def some(unbroken: Unbroken, random: Random) -> list[dict[str, Any]]:
    """Return a fault of each kind at one write of each kind."""
    faults = []
    for place, numbers in sorted(unbroken.places().items()):
        operation = place.split()[0]
        kinds = ERRORS
        if operation in ("write", "append", "log"):
            kinds = (*ERRORS, "short")
        for kind in kinds:
            faults.append(
                {
                    "kind": kind,
                    "at": random.choice(numbers),
                    "lasting": random.random() < 0.5,
                }
            )
    return faults


def test_a_write_that_fails_is_said_and_loses_nothing(
    children: Children, unbroken: Unbroken, tmp_path: Path
) -> None:
    at = unbroken.places()["write student.keras"][0]
    fault = {"kind": "short", "at": at, "lasting": True}
    check(children, unbroken, tmp_path / "run", fault)


@pytest.mark.slow
@pytest.mark.parametrize("seed", seeds(1))
def test_any_write_may_fail(
    children: Children, unbroken: Unbroken, tmp_path: Path, seed: int
) -> None:
    losses = []
    with seeded(seed) as random:
        faults = some(unbroken, random)
        for number, fault in enumerate(faults):
            try:
                check(children, unbroken, tmp_path / str(number), fault)
            except AssertionError as error:
                place = unbroken.operations[fault["at"] - 1]
                losses.append(f"{place} {fault}: {error}")
    print(f"{len(faults)} failing writes, {len(losses)} losses")
    assert not losses, "\n\n".join(losses)
