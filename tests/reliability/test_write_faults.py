"""Failing writes: the run names file and reason, and later continues bit for bit."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest

from kmtard.runs import list_runs
from tests.reliability.children import Children, leftovers, spread
from tests.reliability.conftest import Unbroken
from tests.reliability.faults import ERRORS
from tests.reliability.same_end import check_said, check_same
from tests.reliability.seeds import seeded, seeds
from tests.reliability.server import prepare

pytestmark = pytest.mark.once("jax")

REASONS = {
    "short": "No space left on device",
    "ENOSPC": "No space left on device",
    "EIO": "Input/output error",
    "EACCES": "Permission denied",
}


def check(children: Children, unbroken: Unbroken, folder: Path, fault: Any) -> None:
    """Let one write fail, check the message, and continue without the fault."""
    place = unbroken.operations[fault["at"] - 1]
    operation, name = place.split()
    nth = unbroken.operations[: fault["at"]].count(place)
    fault = {**fault, "place": place, "at": nth}
    prepare(folder)
    ended = children("fit", "tiny.toml", cwd=folder, fault=fault)
    assert "Traceback" not in ended.text, ended.text
    # A folder that cannot be flushed is not a failure, since its files are safe.
    if operation != "flush" or "." in name:
        check_said(ended, name, REASONS[fault["kind"]])
    if ended.code:
        assert all(run.state() != "finished" for run in list_runs(folder / "runs"))
        ended = children.resume(folder)
        assert ended.code == 0, ended.text
    check_same(unbroken, folder)
    assert leftovers(folder) == []


def some(unbroken: Unbroken, random: Random) -> list[dict[str, Any]]:
    """Return a fault for each kind of write, and short writes where possible."""
    faults = []
    for place, numbers in sorted(unbroken.places().items()):
        kinds = [random.choice(ERRORS)]
        if place.split()[0] in ("write", "append", "log"):
            kinds.append("short")
        for kind in kinds:
            at, lasting = random.choice(numbers), random.random() < 0.5
            faults.append({"kind": kind, "at": at, "lasting": lasting})
    return faults


@pytest.mark.slow
@pytest.mark.parametrize("seed", seeds(1))
def test_any_write_may_fail(
    unbroken: Unbroken, tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def one(children: Children, folder: Path, fault: dict[str, Any]) -> None:
        try:
            check(children, unbroken, folder, fault)
        except AssertionError as error:
            error.add_note(f"at {unbroken.operations[fault['at'] - 1]}")
            raise

    with seeded(seed) as random:
        faults = some(unbroken, random)
        losses = spread(faults, one, tmp_path)
        with capsys.disabled():
            print(f"\n{len(faults)} failing writes, {len(losses)} losses")
        assert not losses, "\n\n".join(losses)
