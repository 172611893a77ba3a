"""Runs that are killed again and again end as the one that nothing broke."""

from __future__ import annotations

import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.reliability.children import Children, leftovers, only_run
from tests.reliability.conftest import Unbroken
from tests.reliability.seeds import VARIABLE, seeded, seeds
from tests.reliability.server import prepare
from tests.run_facts import facts

pytestmark = pytest.mark.once("jax")

MOST = 6
"""Kills of one run."""
KILLS = 200
WORKERS = 2


def check(
    children: Children, unbroken: Unbroken, folder: Path, random: Random, most: int
) -> Counter[str]:
    """Kill a run at random places until it is through; return where."""
    prepare(folder)
    killed: Counter[str] = Counter()
    for _ in range(most):
        place, how = death(unbroken, random)
        ended = children.go_on(folder, **how)
        if ended.code == 0:
            break
        assert ended.code == -signal.SIGKILL, ended.text
        killed[place] += 1
    else:
        ended = children.go_on(folder)
        assert ended.code == 0, ended.text
    run = only_run(folder)
    assert run.state() == "finished"
    found = facts(run, repeats=True)
    assert found.keys() == unbroken.facts.keys()
    assert [key for key in found if found[key] != unbroken.facts[key]] == []
    assert leftovers(run.path) == []
    return killed


def death(unbroken: Unbroken, random: Random) -> tuple[str, dict[str, Any]]:
    """Choose a moment or a write to be killed at."""
    if random.random() < 0.4:
        # Compiled for the first time, that run took longer.
        seconds = random.uniform(0, 0.8 * unbroken.ended.seconds)
        return "at a moment", {"kill_after": seconds}
    places = unbroken.places()
    place = random.choice(sorted(places))
    # What a resumed run has done already is not written again: rather an early one.
    number = min(random.choice(places[place]) for _ in range(2))
    when = random.choice(["before", "inside", "after"])
    return f"{when} {place}", {"fault": {"kind": "kill", "at": number, "when": when}}


def test_a_run_survives_a_few_kills(
    children: Children, unbroken: Unbroken, tmp_path: Path
) -> None:
    seed = seeds(1)[0]
    with seeded(seed) as random:
        assert check(children, unbroken, tmp_path / "run", random, 2)


@pytest.mark.slow
def test_no_run_is_lost_in_200_kills(
    unbroken: Unbroken, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    losses: dict[int, BaseException] = {}
    killed: Counter[str] = Counter()
    named = iter(seeds(10 * KILLS))

    def work(number: int) -> None:
        with Children(tmp_path / f"printed-{number}") as children:
            while killed.total() < KILLS and (seed := next(named, None)) is not None:
                try:
                    with seeded(seed) as random:
                        folder = tmp_path / f"seed-{seed}"
                        killed.update(check(children, unbroken, folder, random, MOST))
                except (AssertionError, OSError, ValueError) as error:
                    losses[seed] = error

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(work, range(WORKERS)))
    with capsys.disabled():
        print(f"\n{killed.total()} kills, {len(losses)} losses; {dict(killed)}")
    assert not losses, f"repeat one with {VARIABLE}=SEED: {losses}"
