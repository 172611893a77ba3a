"""The page of one evaluation: all that a reviewer needs, and nothing from elsewhere."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from kmtard.report import page
from kmtard.report.claim import Claim
from kmtard.report.drawings import Bars, Curves, Gallery, Grids
from kmtard.report.section import Section
from kmtard.report.sections import claim as sections
from kmtard.runs.results import read_results
from kmtard.runs.tables import Table
from tests.kmtard.report.conftest import (
    CLASSES,
    corruptions,
    record,
    write_pictures,
)

pytestmark = pytest.mark.once("jax")

ATTACKS = {"fgsm": 20, "autoattack": 12}
COMMAND = "kmtard evaluate model.keras --data digits --epsilons 0,0.05,0.1"
DIGEST = 64 * "a"


def claim(folder: Path, *radii: float, **changes: Any) -> Claim:
    """Return the claim of records that were written at these radii."""
    for number, epsilon in enumerate(radii):
        content = record(ATTACKS, epsilon=epsilon)
        content["networks"] = content["networks"][-1:]
        for each in content["networks"][0]["attacks"].values():
            each["settings"]["kind"] = "AutoAttack"
        if number == 0:
            content["networks"][0]["corruptions"] = corruptions(
                {"zoom_blur": 30, "frost": 9}
            )
        environment = {"file": "model.keras", "sha256": DIGEST, "commands": [COMMAND]}
        content["environment"] |= environment
        content = {**content, **changes}
        path = folder / (f"evaluation/{number}.json" if number else "evaluation.json")
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
    found = Claim.at(folder)
    assert found is not None
    return found


def texts(section: Section) -> str:
    found = [*section.missing]
    for block in section.blocks:
        if isinstance(block, Table):
            found += [
                block.title,
                *block.notes,
                *(c for row in block.rows for c in row),
            ]
        elif isinstance(block, str):
            found.append(block)
    return "\n".join(found)


def test_the_page_has_everything_and_needs_no_network(tmp_path: Path) -> None:
    write_pictures(tmp_path / "evaluation" / "images", ATTACKS)
    found = claim(tmp_path, 0.1, 0.05)
    built = sections.build(found)
    kinds = [type(block) for section in built for block in section.blocks]
    assert {Bars, Curves, Gallery, Grids, Table, str} <= set(kinds)
    assert [each.missing for each in built if each.missing] == []
    text = page.to_html(sections.title(found), sections.lead(found), built)
    without_names = re.sub(r'xmlns(:\w+)?="[^"]*"', "", text)
    assert "http" not in without_names.replace("http-equiv", "")
    assert "<script" not in text
    for needed in ("You may quote 30.00 %", COMMAND, DIGEST, "student 0", "f00"):
        assert needed in text


@pytest.mark.parametrize(
    ("finding", "row", "state"),
    [
        ("zero-gradients", 0, "found: zero-gradients"),
        ("randomised-defence", 1, "found: randomised-defence"),
        ("dynamic-defence", 2, "found: dynamic-defence"),
        ("loop-in-prediction", 2, "found: loop-in-prediction"),
        ("few-classes", 2, "not found"),
    ],
)
def test_the_page_names_the_restrictions_of_robustbench(
    finding: str, row: int, state: str, tmp_path: Path
) -> None:
    path = claim(tmp_path, 0.1).results.path
    content = json.loads(path.read_text())
    content["networks"][0]["findings"] = [{"name": finding, "message": "Words."}]
    path.write_text(json.dumps(content))
    found = Claim.at(tmp_path)
    assert found is not None
    [table] = [
        block
        for block in sections.diagnostics(found).blocks
        if isinstance(block, Table) and "RobustBench" in block.title
    ]
    states = [each[1] for each in table.rows]
    assert states[row] == state
    assert all(each == "not found" for n, each in enumerate(states) if n != row)


@pytest.mark.parametrize("number", [0, 1])
def test_the_corruptions_are_those_of_any_radius(number: int, tmp_path: Path) -> None:
    first = claim(tmp_path, 0.05, 0.1)
    found = Claim.at(first.records[number].path)
    assert found is not None
    bars, table = sections.corruptions(found).blocks
    assert isinstance(bars, Bars)
    assert list(bars.groups) == ["clean", "zoom blur", "frost"]
    assert bars.series[0].values == [90, 75, 22.5]
    assert isinstance(table, Table)
    assert table.rows[1][:2] == ["frost", "22.50"]
    assert table.rows[2][-2] == "50.00"
    text = texts(sections.corruptions(found))
    assert "frost: a generated texture" in text
    assert "The means leave out gaussian_noise" in text


def test_without_corruptions_the_page_names_the_command(tmp_path: Path) -> None:
    path = claim(tmp_path, 0.1).results.path
    content = json.loads(path.read_text())
    del content["networks"][0]["corruptions"]
    path.write_text(json.dumps(content))
    found = Claim.at(tmp_path)
    assert found is not None
    section = sections.corruptions(found)
    assert not section.blocks
    assert f"`{COMMAND} --corruptions`" in section.missing[0]


def test_the_verdict_names_the_command_that_finds_out_more(tmp_path: Path) -> None:
    path = claim(tmp_path, 0.1).results.path
    content = json.loads(path.read_text())
    finding = {"name": "zero-gradients", "message": "Zero for 3 images."}
    content["networks"][0]["findings"] = [finding]
    path.write_text(json.dumps(content))
    found = Claim.of(read_results(path), tmp_path)
    text = texts(sections.judgment(found))
    assert text.startswith("Do not quote this robust accuracy, because its gradients")
    assert "--attacks square" in text and "Zero for 3 images." in text
    means = texts(sections.diagnostics(found))
    assert "its gradients mislead attacks that follow them" in means


def test_the_curve_has_clean_accuracy_at_radius_zero(tmp_path: Path) -> None:
    drawing, table = sections.radii(claim(tmp_path, 0.1, 0.05)).blocks
    assert isinstance(drawing, Curves) and isinstance(table, Table)
    curve = drawing.panels[0].curves[0]
    assert list(curve.x) == [0.0, 0.05, 0.1]
    assert list(curve.y) == [90, 50, 50]
    below, above = curve.spread[1]  # type: ignore[misc]
    assert 10 < below < 20 and 10 < above < 20


def test_the_bars_show_clean_and_robust_accuracy_of_each_class(tmp_path: Path) -> None:
    bars, table = sections.per_class(claim(tmp_path, 0.1)).blocks
    assert isinstance(bars, Bars) and isinstance(table, Table)
    assert [each.label for each in bars.series] == ["clean", "all attacks together"]
    assert len(bars.groups) == CLASSES
    shown = [value for value in bars.series[0].values if value is not None]
    assert sum(shown) / CLASSES == pytest.approx(90)


def test_of_many_classes_the_worst_are_shown(tmp_path: Path) -> None:
    labels = list(range(40))
    found = claim(tmp_path, 0.1, labels=" ".join(map(str, labels)))
    [table] = sections.per_class(found).blocks
    assert isinstance(table, Table) and len(table.rows) == 20 + 2
    assert table.notes[0] == "the 20 worst classes of 40"
    assert {row[-1] for row in table.rows[:20]} == {"0.00"}
    [confused] = sections.confusion(found).blocks
    assert isinstance(confused, Table)


def test_the_confusion_is_that_of_the_strongest_attack(tmp_path: Path) -> None:
    [grids] = sections.confusion(claim(tmp_path, 0.1)).blocks
    assert isinstance(grids, Grids)
    assert [each.title for each in grids.grids][1] == "images of autoattack"


def test_missing_parts_say_which_command_fills_them(tmp_path: Path) -> None:
    found = claim(tmp_path, 0.1, pictures=None, environment={})
    gaps = {each.name: each.missing for each in sections.build(found) if each.missing}
    assert gaps.keys() == {"radii", "images", "reproduce"}
    assert "--epsilons 0,0.025,0.05,0.1,0.2" in gaps["radii"][0]
    for [text] in gaps.values():
        assert "`kmtard evaluate MODEL.keras --data DATA" in text


def test_the_conditions_of_each_attack_are_listed(tmp_path: Path) -> None:
    text = texts(sections.reproduction(claim(tmp_path, 0.1)))
    assert "kind=AutoAttack, epsilon=0.1" in text
    assert "3.15.1" in text
