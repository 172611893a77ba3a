from __future__ import annotations

import json

import pytest

from kmtard.evaluation.statistics import mcnemar, wilcoxon
from kmtard.report.sections import pairs
from kmtard.report.source import read
from kmtard.runs import Run
from kmtard.runs.tables import Table
from tests.kmtard.report.conftest import IMAGES, Reported

pytestmark = pytest.mark.once("jax")


def rows(*runs: Run) -> list[dict[str, str]]:
    [table] = pairs.tests(read([run.path for run in runs])).blocks
    assert isinstance(table, Table)
    return [dict(zip(table.header, row, strict=True)) for row in table.rows]


def set_robust(run: Run, digits: str) -> None:
    content = json.loads(run.evaluation_path.read_text())
    found = content["networks"][-1]["attacks"]["pgd_trades"]
    found.update(robust=digits, accuracy=digits.count("1") / len(digits))
    run.evaluation_path.write_text(json.dumps(content))


def test_one_seed_is_compared_by_mcnemar(reported: Reported) -> None:
    first, second = reported("trades"), reported("mtard")
    set_robust(first, "1" * 12 + "0" * (IMAGES - 12))
    set_robust(second, "0" * 9 + "1" * 5 + "0" * (IMAGES - 14))
    _, row = rows(first, second)
    assert row == {
        **{"attack": "pgd_trades", "A": "trades", "B": "mtard", "seeds": "1"},
        **{"A - B": "+17.50", "only A": "9", "only B": "2"},
        "p": f"{mcnemar(9, 2):.3g}",
    }


def test_several_seeds_are_compared_image_by_image(reported: Reported) -> None:
    ours = [reported("trades", seed) for seed in (0, 1, 2)]
    theirs = [reported("mtard", seed) for seed in (0, 1, 3)]
    for seed, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        set_robust(one, "1" * (8 + 2 * seed) + "0" * (IMAGES - 8 - 2 * seed))
        set_robust(other, "0" * IMAGES)
    _, row = rows(*ours, *theirs)
    assert row["seeds"] == "2" and row["A - B"] == "+22.50 ± 3.54"
    assert (row["only A"], row["only B"]) == ("18", "0")
    # Both seeds of A are correct on eight images, and one seed on two more.
    assert row["p"] == f"{wilcoxon([2] * 8 + [1] * 2 + [0] * 30):.3g}"


def test_other_images_are_not_compared(reported: Reported) -> None:
    first, second = reported("trades"), reported("mtard")
    content = json.loads(second.evaluation_path.read_text())
    content["conditions"]["images"] = "other"
    second.evaluation_path.write_text(json.dumps(content))
    section = pairs.tests(read([first.path, second.path]))
    assert (
        not section.blocks and "share a seed and evaluated images" in section.missing[0]
    )


def test_with_many_rows_each_is_compared_with_the_best(reported: Reported) -> None:
    methods = ["natural", "sat", "trades", "score", "ard", "rslad", "mtard", "b_mtard"]
    runs = [
        reported(method, attacks={"pgd_trades": 10 + place})
        for place, method in enumerate(methods)
    ]
    found = rows(*runs)
    assert {row["A"] for row in found} == {"b-mtard"} and len(found) == 2 * 7
