"""The light reader of `evaluation.json`: this version's record and the older ones."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import kmtard
from kmtard.runs.files import RunError
from kmtard.runs.results import (
    SCHEMA,
    Finding,
    headline_of,
    read_all,
    read_figures,
    read_results,
)

pytestmark = pytest.mark.once("torch")

ROOT = Path(kmtard.__file__).parents[1]


def column(bits: str, w_robust: float, **changes: Any) -> dict[str, Any]:
    correct = bits.count("1")
    return {
        "accuracy": correct / len(bits),
        "w_robust_accuracy": w_robust,
        "interval": [0.1, 0.9],
        "correct": correct,
        "class_accuracy": {"0": 1.0, "1": 0.5},
        "worst_class": {"label": 1, "accuracy": 0.5},
        "settings": {"kind": "PGD", "epsilon": 0.1},
        "cost": {
            **{"queries": 1.0, "median_queries": None, "max_queries": 1},
            **{"forwards": 2.0, "backwards": 1.0, "seconds": 0.5},
        },
        "distance": {"linf": 0.1, "l2": None},
        "stages": None,
        "robust": bits,
        **changes,
    }


def network(role: str, seconds: float | None = None) -> dict[str, Any]:
    return {
        "role": role,
        "name": role,
        "weights": "abc",
        "seconds": seconds,
        "clean": column("1110", 0.75, predictions="0 1 1 0"),
        "attacks": {
            "pgd_trades": column("1100", 0.625, predictions="0 1 0 0"),
            "fgsm": column("1110", 0.75, predictions="0 1 1 0"),
        },
        "worst_case": column("1100", 0.625, cost=None, distance=None),
        "findings": [{"name": "few-classes", "message": "2 classes"}],
    }


def record() -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "data": "digits (test)",
        "images": 4,
        "labels": "0 1 1 1",
        "headline": "pgd_trades",
        "conditions": {"images": "f00", "seed": 3, "epsilon": 0.1},
        "environment": {"backend": "jax"},
        "networks": [network("nat_teacher", 12.5), network("student")],
        "pictures": {"folder": "evaluation/images", "indices": [0, 3]},
    }


def of_training() -> dict[str, Any]:
    """What a training of version 0.1 wrote; the headline was the last attack."""
    rows = [
        {
            "role": role,
            "clean_accuracy": 0.75,
            "robust_accuracy": {"pgd_trades": 0.5, "fgsm": 0.75},
            "w_robust_accuracy": {"pgd_trades": 0.625, "fgsm": 0.75},
            "seconds": seconds,
        }
        for role, seconds in (("nat_teacher", None), ("student", 3.5))
    ]
    attacks = {"pgd_trades": {"epsilon": 0.1, "steps": 2}, "fgsm": {"epsilon": 0.1}}
    return {"images": 4, "attacks": attacks, "rows": rows}


def of_evaluation() -> dict[str, Any]:
    """What `kmtard.evaluate` of version 0.1 wrote."""
    return {
        "format": 1,
        "model": "runs/a",
        "data": "digits (test)",
        "fingerprint": "f00",
        "images": 4,
        "clean_accuracy": 0.75,
        "clean": column("1110", 0.75, settings={}),
        "attacks": {
            "square": column("1000", 0.5),
            "transfer": column("1110", 0.75, settings={"attack": {"epsilon": 0.2}}),
        },
        "worst_case": column("1000", 0.5, cost=None, distance=None, settings={}),
        "warnings": [{"name": "a", "message": "b"}],
        "environment": {"backend": "jax", "seed": 0},
        "labels": "0 1 1 1",
    }


def written(folder: Path, content: Any, name: str = "evaluation.json") -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_classes_and_what_they_are_taken_for(tmp_path: Path) -> None:
    found = read_results(written(tmp_path, {**record(), "class_names": ["cat"]}))
    assert [found.class_name(label) for label in (0, 1, -1)] == ["cat", "1", "-1"]
    score = found.student.attacks["pgd_trades"]
    assert found.by_class(score) == {0: 1.0, 1: 1 / 3}
    assert found.confusion(score) == {(0, 0): 1, (1, 1): 1, (1, 0): 2}
    assert found.by_class(replace(score, robust="")) == {}
    assert found.confusion(replace(score, predictions=())) == {}


def test_confidences(tmp_path: Path) -> None:
    content = record()
    clean = content["networks"][-1]["clean"]
    assert read_results(written(tmp_path, content)).student.clean.confidences == {}
    clean["confidences"] = {"0": 0.75, "3": 1}
    found = read_results(written(tmp_path, content)).student.clean.confidences
    assert found == {0: 0.75, 3: 1.0}
    for wrong in ({"0": 2}, {"a": 0.5}, [0.5]):
        clean["confidences"] = wrong
        with pytest.raises(RunError, match="a part of it is missing or wrong"):
            read_results(written(tmp_path, content))


def corruptions() -> dict[str, Any]:
    """The corruptions of a network, as version 0.2 writes them."""
    share = {"accuracy": 0.5, "interval": [0.2, 0.8]}
    score = {
        **share,
        "severities": [{**share, "correct": 2} for _ in range(5)],
        "settings": {"source": "generated"},
        "baseline": 0.8,
    }
    scores = {"snow": score, "fog": {**score, "accuracy": 0.25, "baseline": 1}}
    return {**share, "accuracy": 0.375, "mce": 0.6875, "scores": scores}


def test_corruptions(tmp_path: Path) -> None:
    content = record()
    assert read_results(written(tmp_path, content)).student.corruptions is None
    content["networks"][-1]["corruptions"] = corruptions()
    found = read_results(written(tmp_path, content)).student.corruptions
    assert found is not None
    assert found.accuracy == 0.375
    assert found.mce == pytest.approx((0.5 / 0.8 + 0.75 / 1) / 2)
    assert found.scores["snow"].error == pytest.approx(0.5 / 0.8)
    assert [each.correct for each in found.scores["fog"].severities] == [2] * 5
    content["networks"][-1]["corruptions"]["scores"]["fog"]["baseline"] = None
    found = read_results(written(tmp_path, content)).student.corruptions
    assert found is not None and found.mce is None
    fog = content["networks"][-1]["corruptions"]["scores"]["fog"]
    wrongs: tuple[dict[str, Any], ...] = (
        {"severities": []},
        {"severities": [3] * 5},
        {"baseline": 0},
        {"accuracy": 2},
        {"interval": [0.1]},
        {"settings": None},
    )
    for wrong in wrongs:
        scores = {"fog": {**fog, **wrong}}
        content["networks"][-1]["corruptions"] = {**corruptions(), "scores": scores}
        with pytest.raises(RunError, match="a part of it is missing or wrong"):
            read_results(written(tmp_path, content))
    content["networks"][-1]["corruptions"] = {**corruptions(), "scores": {}}
    with pytest.raises(RunError, match="has no scores"):
        read_results(written(tmp_path, content))


def test_record(tmp_path: Path) -> None:
    path = written(tmp_path, record())
    for place in (path, tmp_path, str(tmp_path)):
        found = read_results(place)
        assert found.path == path
    assert (found.images, found.data) == (4, "digits (test)")
    assert found.labels == (0, 1, 1, 1)
    assert found.headline == "pgd_trades"
    assert found.attacks == ["pgd_trades", "fgsm"]
    assert found.conditions == {"images": "f00", "seed": 3, "epsilon": 0.1}
    assert found.environment == {"backend": "jax"}
    assert found.findings == (Finding("few-classes", "2 classes"),), "each once"
    teacher, student = found.networks
    assert student is found.student
    assert (teacher.label, teacher.seconds) == ("clean teacher", 12.5)
    assert (student.label, student.seconds) == ("student", None)
    assert student.w_robust == 0.625
    assert student.clean.w_robust is None
    assert student.clean.interval == (0.1, 0.9)
    assert student.robust is student.attacks["pgd_trades"]
    score = student.attacks["pgd_trades"]
    assert (score.accuracy, score.correct, score.epsilon) == (0.5, 2, 0.1)
    assert score.worst_class == (1, 0.5)
    assert (score.robust, score.predictions) == ("1100", (0, 1, 0, 0))
    assert score.cost is not None and score.cost.seconds == 0.5
    assert score.distance is not None and score.distance.l2 is None
    assert list(student.columns) == ["clean", "pgd_trades", "fgsm", "worst case"]


def test_pictures(tmp_path: Path) -> None:
    written(tmp_path, record())
    pictures = read_results(tmp_path).pictures
    assert pictures is not None
    assert pictures.indices == (0, 3)
    place = tmp_path / "evaluation" / "images" / "pgd_trades"
    place.mkdir(parents=True)
    (place / "000003.png").touch()
    assert pictures.path("pgd_trades", 3) == place / "000003.png"
    assert pictures.path("pgd_trades", 0) is None
    assert pictures.path("clean", 0) is None


def test_training_of_version_0_1(tmp_path: Path) -> None:
    written(tmp_path, of_training())
    found = read_results(tmp_path)
    assert (found.images, found.headline) == (4, "pgd_trades")
    assert [each.label for each in found.networks] == ["clean teacher", "student"]
    student = found.student
    assert (student.clean.accuracy, student.w_robust) == (0.75, 0.625)
    assert (student.clean.interval, student.clean.worst_class) == (None, None)
    assert student.attacks["pgd_trades"].epsilon == 0.1
    assert student.seconds == 3.5
    assert list(student.columns) == ["clean", "pgd_trades", "fgsm"]


def test_evaluation_of_version_0_1(tmp_path: Path) -> None:
    written(tmp_path, of_evaluation())
    found = read_results(tmp_path)
    assert found.headline == "square", "the strongest, where PGD_trades was not run"
    assert (found.student.role, found.student.w_robust) == ("model", 0.5)
    assert found.student.findings == (Finding("a", "b"),)
    assert found.student.attacks["transfer"].epsilon == 0.2
    assert found.conditions == {"images": "f00", "seed": 0, "backend": "jax"}
    assert found.student.attacks["square"].predictions == ()
    (tmp_path / "recipe.toml").touch()
    assert read_results(tmp_path).student.role == "student"


def test_file_that_holds_both(tmp_path: Path) -> None:
    content = {**of_training(), **of_evaluation(), "images": 2}
    written(tmp_path, content)
    training = read_results(tmp_path)
    assert training.images is None, "those of the evaluation replaced them"
    assert training.student.attacks["fgsm"].epsilon is None
    assert training.student.w_robust == 0.625
    (first, second), problems = read_all(tmp_path)
    assert problems == []
    assert first.student == training.student
    assert (second.images, second.headline) == (2, "square")


def test_all_records_of_a_folder(tmp_path: Path) -> None:
    assert read_all(tmp_path) == ([], [])
    written(tmp_path, {**record(), "images": 3}, "evaluation/b.json")
    written(tmp_path, "{", "evaluation/c.json")
    written(tmp_path, {**record(), "images": 2}, "evaluation/a.json")
    written(tmp_path, record())
    found, problems = read_all(tmp_path)
    assert [each.images for each in found] == [4, 2, 3]
    [problem] = problems
    assert "c.json" in problem


@pytest.mark.parametrize(
    ("accuracies", "wanted", "headline"),
    [
        ({"fgsm": 0.4, "pgd_trades": 0.5}, "pgd_trades", "pgd_trades"),
        ({"fgsm": 0.4, "pgd_trades": 0.5}, "fgsm", "fgsm"),
        ({"fgsm": 0.4, "square": 0.5}, "pgd_trades", "fgsm"),
        ({}, "pgd_trades", None),
    ],
)
def test_headline(
    accuracies: dict[str, float], wanted: str, headline: str | None
) -> None:
    assert headline_of(accuracies, wanted) == headline


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "Expecting"),
        ("[]", "Received: list"),
        ("{}", "keys none"),
        ({"schema": SCHEMA + 1}, "newer version of kmtard"),
        ({"format": SCHEMA + 1}, "newer version of kmtard"),
        ({"schema": "2"}, "newer version of kmtard"),
        ({"schema": SCHEMA}, "KeyError"),
        ({**record(), "networks": []}, "empty"),
        ({**record(), "networks": [3]}, "TypeError"),
        ({**record(), "images": None}, "TypeError"),
        ({"images": 3, "rows": []}, "empty"),
        ({"images": 3, "rows": ["of the training"]}, "TypeError"),
        ({"format": 1}, "KeyError"),
    ],
)
def test_what_is_no_record_is_refused(tmp_path: Path, content: Any, why: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(RunError, match=why) as error:
        read_results(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("place", "values"),
    [
        (("images",), ("3", True, -1, 10**30, 1.5)),
        (("data",), (None, 3, [])),
        (("conditions",), ("ab", [["a", 1]], None)),
        (("networks", 0, "name"), (3, None)),
        (("networks", 0, "findings"), ({"a": 1}, [{"name": 1, "message": "m"}])),
        (("networks", 0, "clean", "correct"), ("1", True, -1, 10**400)),
        (("networks", 0, "clean", "settings"), ([], "x", None)),
        (("networks", 0, "clean", "interval"), ([], [0.1], [0.1, 2], 3)),
        (("networks", 0, "clean", "cost"), ({}, [], {"queries": "1"})),
        (("networks", 0, "clean", "distance"), ({}, {"linf": "x", "l2": 1})),
        (("networks", 0, "clean", "stages"), ({"a": None}, ["a"], {"a": 1e308})),
        (("networks", 0, "clean", "worst_class"), ({}, {"label": None})),
    ],
)
def test_a_part_of_another_type_is_refused_by_the_files_name(
    tmp_path: Path, place: tuple[Any, ...], values: tuple[Any, ...]
) -> None:
    for value in values:
        content = copy.deepcopy(record())
        part: Any = content
        for key in place[:-1]:
            part = part[key]
        part[place[-1]] = value
        path = written(tmp_path, content)
        with pytest.raises(RunError, match="a part of it is missing or wrong") as error:
            read_results(path)
        assert str(path) in str(error.value) and len(str(error.value)) < 1000


def test_an_error_about_a_huge_value_is_short(tmp_path: Path) -> None:
    for content in ({**record(), "images": "x" * 10**6}, {"x" * 10**6: 1}):
        path = written(tmp_path, content)
        with pytest.raises(RunError) as error:
            read_results(path)
        assert len(str(error.value)) < 2000


@pytest.mark.parametrize("value", [None, "x", True, 1.5, float("nan"), 10**400])
def test_accuracy_that_is_none_is_refused(tmp_path: Path, value: Any) -> None:
    for content in (record(), of_training()):
        if "rows" in content:
            content["rows"][0]["clean_accuracy"] = value
        else:
            content["networks"][0]["clean"]["accuracy"] = value
        written(tmp_path, content)
        with pytest.raises(RunError, match="missing or wrong"):
            read_results(tmp_path)


def test_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="does not exist.*kmtard evaluate"):
        read_results(tmp_path)


def test_reading_loads_neither_numpy_nor_keras() -> None:
    code = "import kmtard.runs.results, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert not {"numpy", "keras"} & set(done.stdout.split())


@pytest.mark.parametrize("content", [record, of_training, of_evaluation])
def test_figures_alone_are_those_of_the_record(
    tmp_path: Path, content: Callable[[], dict[str, Any]]
) -> None:
    (tmp_path / "evaluation.json").write_text(json.dumps(content()))
    figures, whole = read_figures(tmp_path), read_results(tmp_path)
    assert figures.labels == ()
    for mine, theirs in zip(figures.networks, whole.networks, strict=True):
        for name, score in theirs.columns.items():
            assert mine.columns[name] == replace(score, predictions=())
        assert (mine.headline, mine.w_robust) == (theirs.headline, theirs.w_robust)


@pytest.mark.parametrize("networks", [None, 1, [], [1], [{"clean": 1}]])
def test_figures_of_a_damaged_record_are_refused(
    tmp_path: Path, networks: object
) -> None:
    content = {**record(), "networks": networks}
    (tmp_path / "evaluation.json").write_text(json.dumps(content))
    with pytest.raises(RunError, match="a part of it is missing or wrong"):
        read_figures(tmp_path)
