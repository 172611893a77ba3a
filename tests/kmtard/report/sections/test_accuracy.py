from __future__ import annotations

import pytest

from kmtard.report.section import Section
from kmtard.report.sections import accuracy
from kmtard.report.source import read
from kmtard.runs.notes import Notes, write_notes
from kmtard.runs.tables import Table
from tests.kmtard.report.conftest import Reported

pytestmark = pytest.mark.once("jax")


def table(section: Section) -> Table:
    [found] = section.blocks
    assert isinstance(found, Table)
    return found


def rows(found: Table, **wanted: str) -> list[dict[str, str]]:
    lines = [dict(zip(found.header, row, strict=True)) for row in found.rows]
    return [line for line in lines if wanted.items() <= line.items()]


def test_our_numbers_have_the_papers_and_the_difference(reported: Reported) -> None:
    paths = [reported(seed=seed, clean=36 + seed).path for seed in (0, 1)]
    found = table(accuracy.white_box(read(paths)))
    [row] = rows(found, attack="pgd_trades", method="b-mtard")
    assert row == {
        **{"attack": "pgd_trades", "method": "b-mtard", "runs": "2"},
        **{"clean": "91.25 ± 1.77", "clean, paper": "88.20", "clean, Δ": "+3.05"},
        **{"robust": "50.00 ± 0.00", "robust, paper": "54.40", "robust, Δ": "-4.40"},
        "W-Robust": "70.62 ± 0.88",
        **{"W-Robust, paper": "71.30", "W-Robust, Δ": "-0.67", "command": "-"},
    }


def test_an_empty_cell_says_which_command_fills_it(reported: Reported) -> None:
    run = reported()
    found = table(accuracy.white_box(read([run.path])))
    assert {row["method"] for row in rows(found, attack="fgsm")} >= {"sat", "b-mtard"}
    [missing] = rows(found, attack="fgsm", method="sat")
    assert missing["clean"] == missing["robust"] == "-"
    assert missing["clean, paper"] == "84.20"
    assert missing["command"] == "kmtard fit 'recipes/own file.toml' --method sat"
    [attack] = rows(found, attack="autoattack", method="b-mtard")
    assert attack["command"] == f"kmtard evaluate {run.path} --attacks autoattack"
    assert attack["robust"] == "-" and attack["robust, paper"] == "47.44"


def test_a_printed_number_that_does_not_add_up_is_marked(reported: Reported) -> None:
    about = {"data": "cifar10", "student": "mobilenet_v2"}
    run = reported("trades", attacks={"autoattack": 18}, **about)
    found = table(accuracy.white_box(read([run.path])))
    [row] = rows(found, attack="autoattack", method="trades")
    assert row["W-Robust, paper"] == "61.66 †"
    [note] = [note for note in found.notes if note.startswith("†")]
    text = "† trades, autoattack: the paper prints 61.66, but the mean of its clean"
    assert note == f"{text} and robust accuracy is {61.565:.2f}."


@pytest.mark.parametrize(
    "changes",
    [
        {"epsilon": 0.1},
        {"data": "digits", "student": "small_cnn"},
        {"options": "[evaluation]\nnorm = 'l2'"},
        {"options": "temperature = 3.0"},
    ],
)
def test_a_cell_that_the_paper_lacks_has_no_paper_number(
    reported: Reported, changes: dict[str, str]
) -> None:
    run = reported(**changes)
    found = table(accuracy.white_box(read([run.path])))
    [row] = rows(found, attack="pgd_trades", method="b-mtard")
    assert row.get("W-Robust, paper", "-") == row.get("W-Robust, Δ", "-") == "-"


def test_a_temperature_of_table_7_is_compared_with_it(reported: Reported) -> None:
    options = "temperature = {}"
    paths = [reported(options=options.format(value)).path for value in (1.0, 2.0)]
    found = table(accuracy.white_box(read(paths)))
    assert [
        (row["method"], row["clean, paper"])
        for row in rows(found, attack="pgd_trades")
        if row["method"].startswith("b-mtard")
    ] == [
        ("b-mtard, method.temperature=1", "88.20"),
        ("b-mtard, method.temperature=2", "88.22"),
    ]


def test_black_box_and_gradient_estimation(reported: Reported) -> None:
    attacks = {"pgd_trades": 20, "square_100": 30, "ge": 24}
    source = read([reported(attacks=attacks).path])
    found = table(accuracy.black_box(source))
    [row] = rows(found, attack="square_100", method="b-mtard")
    assert row["robust"] == "75.00" and row["robust, paper"] != "-"
    assert not rows(found, attack="pgd_trades") and not rows(found, attack="ge")
    [row] = rows(table(accuracy.estimated_gradients(source)))
    assert row["ge"] == "60.00" and row["ge, paper"] == "60.34"
    assert row["ge, Δ"] == "-0.34"


def test_empty_paper_columns_are_left_out(reported: Reported) -> None:
    source = read([reported(data="digits", student="small_cnn").path])
    section = accuracy.white_box(source)
    assert table(section).header == [
        *("attack", "method", "runs", "clean", "robust", "W-Robust"),
    ]
    assert not any("Δ" in note for note in table(section).notes)
    [gap] = section.missing
    assert "not measured: fgsm, pgd_sat, cw_inf, autoattack" in gap
    section = accuracy.estimated_gradients(source)
    assert not section.blocks and "--attacks ge" in section.missing[0]


def test_the_summary_names_runs_without_results(reported: Reported) -> None:
    run = reported(seed=1, evaluated=False)
    section = accuracy.summary(read([reported().path, run.path]))
    assert table(section).rows[0][:4] == ["b-mtard", "1", "8/255", "90.00"]
    [gap] = section.missing
    how = f"`kmtard evaluate {run.path}` evaluates it."
    assert gap == f"{run.name} was not evaluated: {how}"


def test_teachers_that_runs_share_count_once(reported: Reported) -> None:
    paths = [reported(method).path for method in ("b_mtard", "mtard")]
    found = table(accuracy.teachers(read(paths)))
    [row] = rows(found, teacher="clean teacher")
    assert row["network"] == "resnet56"
    assert row["clean"] == "90.00" and row["clean, paper"] == "93.18"
    assert row["pgd_trades, Δ"] == "+50.00"


def test_the_tags_of_all_seeds_are_shown(reported: Reported) -> None:
    for seed, tag in enumerate(("odd", "final")):
        write_notes(reported(seed=seed), Notes("", (tag,)))
    plain = reported("trades")
    found = table(accuracy.summary(read([plain.path.parent])))
    assert {row["method"]: row["tags"] for row in rows(found)} == {
        **{"b-mtard": "final odd", "trades": "-"}
    }
    assert "tags" not in table(accuracy.summary(read([plain.path]))).header
