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


Known = set[tuple[str, Any, Any, Any]]


def of_epochs(run: Run) -> Known:
    """Return role, epoch, clean and robust accuracy of each epoch of a run.

    The list shows the epoch of each figure. So a figure of an earlier epoch is correct
    if the later events are cut off.
    """
    found = set()
    for line in run.events_path.read_text().splitlines():
        event = json.loads(line)
        if event["event"] == "epoch":
            figures = event["metrics"]
            shares = (figures.get("clean_accuracy"), figures.get("robust_accuracy"))
            found.add((event["phase"], event["epoch"], *shares))
    return found


def check_list(
    run: Run, before: Summary, known: tuple[Any, ...], epochs: Known
) -> None:
    """Check that the list shows correct values, fewer values, or "damaged"."""
    [row] = [each for each in Library(run.path.parent).scan() if each.name == run.name]
    if row.state == DAMAGED:
        assert row.note
        return
    right = figures(before)
    for name, value in figures(row).items():
        if name == "score":
            is_known = value is None or value in known
            assert is_known or of_epoch("student", value) in epochs, f"{name}: {value}"
        elif name == "teachers":
            for role, each in value.items():
                is_known = each == right[name].get(role)
                assert is_known or of_epoch(role, each) in epochs, f"{role}: {each}"
        else:
            assert value in (right[name], "", None), f"{name}: {value!r}"


def of_epoch(role: str, figures: Any) -> tuple[str, Any, Any, Any]:
    return role, figures.epoch, figures.clean, figures.robust


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
    epochs = of_epochs(run)
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
                check_list(run, before, (before.score, of_events.score), epochs)
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
