"""Runs that are killed repeatedly end like the unbroken one."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.reliability.children import Children, spread
from tests.reliability.conftest import Unbroken
from tests.reliability.same_end import check_same
from tests.reliability.seeds import seeded, seeds
from tests.reliability.server import prepare

pytestmark = pytest.mark.once("jax")

MOST = 6
"""Largest number of kills per run."""
KILLS = 200


def check(
    children: Children, unbroken: Unbroken, folder: Path, random: Random, most: int
) -> Counter[str]:
    """Kill a run at random places until it finishes; return the places."""
    prepare(folder)
    killed: Counter[str] = Counter()
    for _ in range(most):
        place, how = death(unbroken, random)
        ended = children.resume(folder, **how)
        if ended.code == 0:
            break
        assert ended.code == -signal.SIGKILL, ended.text
        killed[place] += 1
    else:
        ended = children.resume(folder)
        assert ended.code == 0, ended.text
    check_same(unbroken, folder)
    return killed


def death(unbroken: Unbroken, random: Random) -> tuple[str, dict[str, Any]]:
    """Choose a moment or a write for a kill."""
    if random.random() < 0.4:
        # The unbroken run took longer, because it compiled first.
        seconds = random.uniform(0, 0.8 * unbroken.ended.seconds)
        return "at a moment", {"kill_after": seconds}
    places = unbroken.places()
    place = random.choice(sorted(places))
    # A resumed run has fewer writes left, so early ones are more likely to occur.
    number = min(random.choice(places[place]) for _ in range(2))
    when = random.choice(["before", "inside", "after"])
    return f"{when} {place}", {"fault": {"kind": "kill", "at": number, "when": when}}


@pytest.mark.slow
def test_no_run_is_lost_in_200_kills(
    unbroken: Unbroken, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    killed: Counter[str] = Counter()

    def cases() -> Iterator[int]:
        for seed in seeds(10 * KILLS):
            if killed.total() < KILLS:
                yield seed

    def one(children: Children, folder: Path, seed: int) -> None:
        with seeded(seed) as random:
            killed.update(check(children, unbroken, folder, random, MOST))

    losses = spread(cases(), one, tmp_path)
    with capsys.disabled():
        print(f"\n{killed.total()} kills, {len(losses)} losses; {dict(killed)}")
    assert not losses, "\n\n".join(losses)
