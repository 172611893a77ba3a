from __future__ import annotations

import pytest

from kmtard.report.drawings import Bars
from kmtard.report.sections.ablation import bars
from kmtard.report.source import read
from kmtard.runs.tables import Table
from tests.kmtard.report.conftest import Reported

pytestmark = pytest.mark.once("jax")


def test_bars_have_the_spread_and_differences_are_paired(reported: Reported) -> None:
    paths = []
    for seed in (0, 1):
        for method, right in (("baseline", 18), ("mtard", 20 + 2 * seed)):
            attacks = {"pgd_trades": right}
            paths.append(reported(method, seed, attacks=attacks).path)
    section = bars(read(paths))
    drawing, table = section.blocks
    assert isinstance(drawing, Bars) and isinstance(table, Table)
    baseline, mtard = drawing.series
    assert (baseline.label, baseline.values, baseline.spreads) == (
        "baseline",
        [67.5],
        [0],
    )
    assert mtard.values == [pytest.approx(71.25)]
    assert mtard.spreads == [pytest.approx(1.767767)]
    [row] = table.rows
    assert list(row) == [
        *("NLB without EBB", "mtard", "baseline", "pgd_trades", "2"),
        # Baseline is not in the paper's tables, only in the text about Figure 3.
        *("+3.75 ± 1.77", "+0.56"),
    ]
    assert [gap.split(": ")[1].split(" was")[0] for gap in section.missing] == [
        *("baseline-ebb", "b-mtard"),
    ]
    assert "--method b_mtard" in section.missing[1]


def test_other_data_is_not_compared_with_the_paper(reported: Reported) -> None:
    about = {"data": "digits", "student": "small_cnn"}
    paths = [reported(method, **about).path for method in ("baseline", "mtard")]
    table = bars(read(paths)).blocks[1]
    assert isinstance(table, Table) and "A - B, paper" not in table.header


def test_one_method_gives_no_ablation(reported: Reported) -> None:
    section = bars(read([reported().path]))
    assert not section.blocks and len(section.missing) == 3
    section = bars(read([reported("trades").path]))
    assert not section.blocks and not section.missing
