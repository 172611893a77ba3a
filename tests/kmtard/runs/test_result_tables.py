"""Records of this version and of version 0.1 as tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kmtard.runs.result_tables import (
    about,
    attacks_table,
    classes_table,
    confusion_table,
    corruptions_table,
    has_details,
    networks_table,
    published_table,
    radii_table,
    w_robust_heading,
)
from kmtard.runs.results import Results, read_all, read_results
from kmtard.runs.tables import to_markdown
from tests.kmtard.runs.test_results import (
    column,
    corruptions,
    network,
    of_evaluation,
    of_training,
    record,
)

pytestmark = pytest.mark.once("torch")


def made(folder: Path, content: dict[str, Any]) -> Results:
    (folder / "evaluation.json").write_text(json.dumps(content))
    return read_results(folder)


def test_networks_of_a_run(tmp_path: Path) -> None:
    table = networks_table(made(tmp_path, record()))
    assert table.header == [
        *("network", "clean", "pgd_trades", "fgsm", "W-Robust (pgd_trades)", "seconds"),
    ]
    assert table.rows == [
        ["clean teacher", "75.00", "50.00", "75.00", "62.50", "12.5"],
        ["student", "75.00", "50.00", "75.00", "62.50", "-"],
    ]
    assert set(table.numbers) == set(table.header[1:])
    assert table.title == "Accuracy on 4 test images, %"
    assert "pgd_trades: epsilon 0.1" in table.notes
    assert table.notes[-1] == "W-Robust: half clean, half pgd_trades"


def test_published_numbers_stand_beside_the_record(tmp_path: Path) -> None:
    content = record()
    assert published_table(made(tmp_path, content)) is None
    attack = column("1000", 0.5)
    content["networks"][-1]["attacks"]["autoattack"] = attack
    published = {"name": "a/Linf/b", "epsilon": 0.1, "norm": "linf"}
    published |= {"clean": 74.0, "autoattack": 20.0}
    content["environment"]["published"] = published
    table = published_table(made(tmp_path, content))
    assert table is not None
    clean, robust = table.rows
    assert (clean[1], clean[3]) == ("74.00", "+1.00")
    assert robust[1] == "20.00" and robust[3] == "+5.00"
    content["conditions"]["epsilon"] = 0.2
    other = published_table(made(tmp_path, content))
    assert other is not None and other.rows[1][2:] == ["-", "-"]


def test_networks_of_a_training_by_version_0_1(tmp_path: Path) -> None:
    table = networks_table(made(tmp_path, of_training()))
    assert table.rows[1] == ["student", "75.00", "50.00", "75.00", "62.50", "3.5"]
    assert table.rows[0][-1] == "cached"
    assert "pgd_trades: epsilon 0.1, steps 2" in table.notes


def test_only_attacks_on_all_networks_have_a_column(tmp_path: Path) -> None:
    content = record()
    del content["networks"][0]["attacks"]["pgd_trades"]
    table = networks_table(made(tmp_path, content))
    names = ["clean", "fgsm", "W-Robust (pgd_trades)", "seconds"]
    assert table.header == ["network", *names]
    assert table.rows == [
        ["clean teacher", "75.00", "75.00", "-", "12.5"],
        ["student", "75.00", "75.00", "62.50", "-"],
    ]


def test_attacks_on_a_network(tmp_path: Path) -> None:
    cost = {
        **{"queries": 101.4, "median_queries": None, "max_queries": 200},
        **{"forwards": 2, "backwards": 0, "seconds": 1.25},
    }
    settings = {"attack": {"config": {"epsilon": 0.1, "step_size": 0.05}}, "steps": 3}
    pgd = column("1100", 0.625, cost=cost, settings=settings, stages={"one": 3})
    student = network("student")
    student["attacks"] |= {"pgd_trades": {**pgd, "predictions": "0 1 0 0"}}
    results = made(tmp_path, {**record(), "networks": [student]})
    table = attacks_table(results, results.student)

    assert [row[0] for row in table.rows] == [
        *("clean", "pgd_trades", "fgsm", "worst case"),
    ]
    assert table.rows[0][:6] == ["clean", "75.00", "10.0-90.0", "-", "-", "50.0 (1)"]
    assert table.rows[1] == [
        *("pgd_trades", "50.00", "10.0-90.0", "62.50", "1", "50.0 (1)"),
        *("101", "2", "0", "1.25"),
    ]
    assert table.rows[3][6:] == ["-"] * 4
    assert table.title == "student on 4 images of digits (test)"
    assert "pgd_trades: epsilon 0.1, step_size 0.05, steps 3" in table.notes
    assert "pgd_trades after one 75.00" in table.notes
    assert table.notes[-1] == "W-Robust, against pgd_trades: 62.50"
    assert "- **few-classes**: 2 classes" in to_markdown(table)


def test_one_attack_alone_has_no_worst_case(tmp_path: Path) -> None:
    student = network("student")
    del student["attacks"]["fgsm"]
    results = made(tmp_path, {**record(), "networks": [student]})
    table = attacks_table(results, results.student)
    assert [row[0] for row in table.rows] == ["clean", "pgd_trades"]


def test_details_are_known_where_they_were_written(tmp_path: Path) -> None:
    assert has_details(made(tmp_path, record()).student)
    training = made(tmp_path, of_training())
    assert not has_details(training.student)
    assert attacks_table(training, training.student).rows[1][1:4] == [
        *("50.00", "-", "62.50"),
    ]
    (tmp_path / "evaluation.json").write_text(
        json.dumps(of_training() | of_evaluation())
    )
    assert [has_details(each.student) for each in read_all(tmp_path)[0]] == [
        *(False, True),
    ]


def test_what_was_evaluated_is_told_as_far_as_it_is_known(tmp_path: Path) -> None:
    results = made(tmp_path, of_training())
    assert about(results, results.student) == "student on 4 images"
    assert w_robust_heading("fgsm") == "W-Robust (fgsm)"
    assert w_robust_heading(None) == "W-Robust"


def test_worst_class_has_its_name_where_one_is_known(tmp_path: Path) -> None:
    content = record()
    for names, shown in (({}, "(0)"), ({"class_names": ["[b]cat"]}, "([b]cat)")):
        for each in content["networks"]:
            each["clean"]["worst_class"] = {"label": 0, "accuracy": 0.5}
        results = made(tmp_path, content | names)
        table = attacks_table(results, results.student)
        assert table.rows[0][table.header.index("worst")] == f"50.0 {shown}"


def test_accuracy_over_the_radius(tmp_path: Path) -> None:
    far = record()
    far["conditions"]["epsilon"] = 16 / 255
    attacks = far["networks"][1]["attacks"]
    attacks["fgsm"] = column("1000", 0.5)
    attacks["fgsm"]["distance"] |= {"median_linf": 0.05, "median_l2": 0.2}
    del attacks["pgd_trades"]
    near = made(tmp_path, record())
    table = radii_table([near, made(tmp_path, far)])
    assert table.header == ["epsilon", "fgsm"], "the attacks of all radii"
    assert table.rows == [
        ["0", "75.00 (10.0-90.0)"],
        ["0.1", "75.00 (10.0-90.0)"],
        ["16/255", "25.00 (10.0-90.0)"],
    ]
    assert any("at most L_inf 0.05, L2 0.2" in note for note in table.notes)


def test_accuracy_per_class(tmp_path: Path) -> None:
    found = made(tmp_path, {**record(), "class_names": ["cat", "dog"]})
    table = classes_table(found, found.student)
    assert table.header == [
        *("class", "images", "clean", "pgd_trades", "fgsm", "worst case"),
    ]
    assert table.rows == [
        ["cat", "1", "100.00", "100.00", "100.00", "100.00"],
        ["dog", "3", "66.67", "33.33", "66.67", "33.33"],
        [
            *("worst class", "", "66.67 (dog)", "33.33 (dog)"),
            *("66.67 (dog)", "33.33 (dog)"),
        ],
        ["fairness gap", "", "33.33", "66.67", "33.33", "66.67"],
    ]


def test_accuracy_under_corruptions(tmp_path: Path) -> None:
    content = record()
    results = made(tmp_path, content)
    assert corruptions_table(results, results.student) is None
    content["networks"][-1]["corruptions"] = corruptions()
    results = made(tmp_path, content)
    table = corruptions_table(results, results.student)
    assert table is not None
    assert table.rows == [
        ["snow", *["50.00"] * 5, "50.00", "20.0-80.0", "62.50"],
        ["fog", *["50.00"] * 5, "25.00", "20.0-80.0", "75.00"],
        ["mean", *["50.00"] * 5, "37.50", "20.0-80.0", "68.75"],
    ]
    assert list(table.header)[-1] == "CE"
    notes = " ".join(table.notes)
    assert "The images were generated here" in notes
    assert "The means leave out gaussian_noise" in notes
    for each in content["networks"][-1]["corruptions"]["scores"].values():
        each["baseline"] = None
        each["settings"] = {"source": "published", "sha256": "a"}
    results = made(tmp_path, content)
    table = corruptions_table(results, results.student)
    assert table is not None
    assert "CE" not in table.header
    assert "generated here" not in " ".join(table.notes)


def test_what_images_are_taken_for(tmp_path: Path) -> None:
    found = made(tmp_path, record())
    table = confusion_table(found, found.student)
    assert table.header == ["class", "0", "1"]
    assert table.rows == [["0", "1", "0"], ["1", "2", "1"]]
    assert "pgd_trades" in (table.title or "")
    content = record()
    many = " ".join(map(str, range(30)))
    shifted = " ".join(map(str, [*range(1, 30), 0]))
    content |= {"labels": f"{many} 0", "images": 31}
    for each in content["networks"]:
        each["clean"] |= {"robust": "0" * 31, "predictions": None}
        for attack in each["attacks"].values():
            attack |= {"robust": "0" * 31, "predictions": f"{shifted} 1"}
    found = made(tmp_path, content)
    table = confusion_table(found, found.student)
    assert table.header == ["class", "taken for", "images"]
    assert table.rows[0] == ["0", "1", "2"]
    assert len(table.rows) == 20
