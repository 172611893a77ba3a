"""Corruptions in a report of several runs."""

from __future__ import annotations

import json

import pytest

from kmtard.report import sections
from kmtard.report.sections.corruptions import by_group
from kmtard.report.source import read
from kmtard.runs import Run
from kmtard.runs.tables import Table
from tests.kmtard.report.conftest import Reported, corruptions

pytestmark = pytest.mark.once("jax")


def with_corruptions(run: Run, fog: int) -> Run:
    content = json.loads(run.evaluation_path.read_text())
    names = {"snow": 10, "fog": fog, "contrast": 30}
    content["networks"][-1]["corruptions"] = corruptions(names)
    run.evaluation_path.write_text(json.dumps(content))
    return run


def test_groups_have_their_mean_over_the_seeds(reported: Reported) -> None:
    runs = [
        with_corruptions(reported("b_mtard", seed), fog)
        for seed, fog in enumerate((20, 30))
    ]
    other = reported("trades", 0)
    section = by_group(read([each.path for each in (*runs, other)]))
    [table] = section.blocks
    assert isinstance(table, Table)
    assert table.header == [
        "method",
        "noise",
        "blur",
        "weather",
        "digital",
        "mean",
        "mCE",
    ]
    # 15 and 20 of 40 images, 30 of 40, and the recorded mean, 20 of 40.
    [row] = table.rows
    assert row[1:] == ["-", "-", "43.75 ± 8.84", "75.00 ± 0.00", "50.00 ± 0.00", "-"]
    assert not section.missing


def test_one_run_has_all_severities(reported: Reported) -> None:
    run = with_corruptions(reported(), 20)
    names = [each.name for each in sections.build(read([run.path])) if each.blocks]
    assert names[-2:] == ["corruptions", "reproduce"]


def test_without_corruptions_the_command_is_told(reported: Reported) -> None:
    run = reported()
    section = by_group(read([run.path]))
    assert not section.blocks
    assert f"`kmtard evaluate {run.path} --corruptions`" in section.missing[0]
