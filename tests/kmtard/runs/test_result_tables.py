from __future__ import annotations

import pytest
from launcher.runs.evaluations import about, attacks_table, networks_table, warnings

NETWORK = {
    "role": "nat_teacher",
    "clean_accuracy": 0.9639,
    "robust_accuracy": {"fgsm": 0.4889, "pgd_trades": 0.3556},
    "w_robust_accuracy": {"fgsm": 0.7264, "pgd_trades": 0.6597},
    "seconds": 6.4,
}
COLUMN = {
    "accuracy": 0.5,
    "w_robust_accuracy": 0.7,
    "interval": [0.4, 0.6],
    "correct": 50,
    "worst_class": {"label": 3, "accuracy": 0.125},
    "cost": {"queries": 101.4, "forwards": 2, "backwards": 0, "seconds": 1.25},
}
CLEAN = {**COLUMN, "accuracy": 0.9, "correct": 90, "cost": None}


def test_networks_of_a_training():
    table = networks_table({"rows": [NETWORK, {**NETWORK, "role": "student"}]})

    assert table.header == [
        *("network", "clean", "fgsm", "pgd_trades", "W-Robust", "seconds"),
    ]
    assert table.rows[0] == [
        *("clean teacher", "96.39", "48.89", "35.56", "65.97", "6.4"),
    ]
    assert table.rows[1][0] == "student"
    assert set(table.numbers) == set(table.header[1:])


def test_attacks_of_an_evaluation():
    report = {"clean": CLEAN, "attacks": {"fgsm": COLUMN}, "worst_case": COLUMN}
    table = attacks_table(report)

    assert table.rows == [
        ["clean", "90.00", "40.0-60.0", "-", "-", "12.5 (3)", *["-"] * 4],
        [
            *("fgsm", "50.00", "40.0-60.0", "70.00", "40", "12.5 (3)"),
            *("101", "2", "0", "1.25"),
        ],
    ]
    several = attacks_table({**report, "attacks": {"fgsm": COLUMN, "ge": COLUMN}})
    assert [row[0] for row in several.rows] == ["clean", "fgsm", "ge", "worst case"]


def test_a_training_alone_has_no_attacks_of_its_own():
    settings = {"fgsm": {"epsilon": 0.1}, "pgd_trades": {"epsilon": 0.1}}

    assert attacks_table({"attacks": settings, "rows": [NETWORK]}).rows == []


def test_warnings_and_what_was_judged_are_told():
    report = {"model": "m", "data": "digits (test)", "images": 360}
    report |= {"warnings": [{"name": "random", "message": "[b]answers[/b] change"}]}

    assert warnings(report) == ["random: [b]answers[/b] change"]
    assert about(report) == "m, digits (test), 360 images"
    assert (warnings({}), about({})) == ([], "")


@pytest.mark.parametrize("value", [None, 1, "x", [], [1], {}, {"a": 1}, [[]], True])
def test_reports_of_any_shape_are_taken(value):
    keys = ("rows", "clean", "attacks", "worst_case", "warnings", "images", "model")
    networks_table(dict.fromkeys(keys, value))
    attacks_table(dict.fromkeys(keys, value))
    networks_table({"rows": [dict.fromkeys(NETWORK, value)]})
    attacks_table({"clean": CLEAN, "attacks": {"a": dict.fromkeys(COLUMN, value)}})
    assert isinstance(about(dict.fromkeys(keys, value)), str)
    assert isinstance(warnings(dict.fromkeys(keys, value)), list)
