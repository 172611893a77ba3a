"""Damaged text files of a run: the list and the report show no wrong number."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from kmtard.runs import Run
from kmtard.runs.groups import collect
from kmtard.runs.intact import sealed
from kmtard.runs.library import Library
from kmtard.runs.summary import DAMAGED, Summary
from tests.reliability.conftest import Unbroken
from tests.reliability.damage import all_damages, put_back
from tests.reliability.seeds import seeded, seeds
from tests.run_folders import evaluated, make_run

pytestmark = pytest.mark.once("jax")

__all__ = ["evaluated", "make_run"]


def figures(row: Summary) -> dict[str, Any]:
    """Return the values that a list shows for a run."""
    return {
        "score": row.score,
        "teachers": dict(row.teachers),
        "method": row.method,
        "data": row.data,
        "network": row.network,
        "seed": row.seed,
        "epsilon": row.epsilon,
    }


def check_list(run: Run, before: Summary, known: tuple[Any, ...]) -> None:
    """Check that the list shows correct values, fewer values, or "damaged"."""
    [row] = [each for each in Library(run.path.parent).scan() if each.name == run.name]
    if row.state == DAMAGED:
        assert row.note
        return
    right = figures(before)
    for name, value in figures(row).items():
        if name == "score":
            assert value is None or value in known, f"{name}: {value}"
        elif name == "teachers":
            assert value.items() <= right[name].items(), f"{name}: {value}"
        else:
            assert value in (right[name], "", None), f"{name}: {value!r}"


def check_report(run: Run, right: Any) -> None:
    """Check that the report has correct numbers, or names the run."""
    groups, problems = collect([run.path])
    if groups:
        assert [group.scores for group in groups] == right
    # A folder without run.json is not a run, so the report need not mention it.
    elif run.info_path.exists():
        assert problems and all(str(run.path) in each for each in problems)


def check_light(run: Run, random: Random, bits: int) -> int:
    """Damage each text file of an evaluated run in every way, and read it."""
    [before] = [e for e in Library(run.path.parent).scan() if e.name == run.name]
    groups, problems = collect([run.path])
    assert not problems
    right = [group.scores for group in groups]
    # Without an evaluation, the list takes its values from the events.
    content = run.evaluation_path.read_bytes()
    run.evaluation_path.unlink()
    [of_events] = [e for e in Library(run.path.parent).scan() if e.name == run.name]
    run.evaluation_path.write_bytes(content)
    count = 0
    for path in (
        run.recipe_path,
        run.info_path,
        run.events_path,
        run.evaluation_path,
    ):
        content = path.read_bytes()
        for name, damage in all_damages(len(content), random, bits):
            damage(path)
            try:
                check_list(run, before, (before.score, of_events.score))
                check_report(run, right)
            except Exception as error:
                error.add_note(f"{path.name} {name}")
                raise
            finally:
                put_back(path, content)
            count += 1
    return count


def sealed_record(path: Path) -> None:
    path.write_text(json.dumps(sealed(json.loads(path.read_text()))))


def test_lists_and_reports_show_no_wrong_number(
    evaluated: Callable[..., Path],
) -> None:
    run = Run(evaluated(1))
    sealed_record(run.evaluation_path)
    with seeded(seeds(1)[0]) as random:
        assert check_light(run, random, bits=40) == 4 * (8 + 40 + 5)


@pytest.mark.slow
def test_lists_and_reports_of_a_real_run_show_no_wrong_number(
    unbroken: Unbroken, tmp_path: Path
) -> None:
    run = Run(shutil.copytree(unbroken.run.path, tmp_path / "runs" / "a"))
    with seeded(seeds(1)[0]) as random:
        check_light(run, random, bits=300)
