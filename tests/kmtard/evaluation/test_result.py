"""The values of an evaluation, its file, its tables, and paired comparisons."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from kmtard.evaluation.comparison import compare, comparison_table
from kmtard.evaluation.diagnostics.finding import Finding
from kmtard.evaluation.result import Column, Evaluation, NetworkEvaluation
from kmtard.evaluation.statistics import mcnemar, wilson_interval
from kmtard.runs.files import RunError
from kmtard.runs.result_tables import attacks_table
from kmtard.runs.results import Cost, Distance, read_results
from kmtard.runs.tables import to_rich

pytestmark = pytest.mark.once("torch")

CLEAN = np.array([1, 1, 1, 1, 0, 1], bool)
FGSM = np.array([1, 1, 0, 1, 0, 0], bool)
SQUARE = np.array([1, 0, 1, 1, 0, 1], bool)
COST = Cost(20.0, 3.0, 21, 21.0, 20.0, 1.5)
ANSWERS = np.array([0, 0, 2, 1, 1, 0])
CONDITIONS = {"images": "abc", "seed": 0, "epsilon": 0.1}


def network(
    fgsm: np.ndarray = FGSM,
    *,
    role: str = "model",
    attacks: Mapping[str, Column] | None = None,
    weights: str | None = "w",
) -> NetworkEvaluation:
    columns = {
        "fgsm": Column(
            fgsm, {"epsilon": 0.1}, COST, Distance(0.1, 0.7), predictions=ANSWERS
        ),
        "square_100": Column(SQUARE, {"epsilon": 0.1}, stages={"one": 4}),
    }
    return NetworkEvaluation(
        role=role,
        name="net_a",
        clean=Column(CLEAN, {}, predictions=np.array([0, 0, 1, 1, 1, 2])),
        attacks=columns if attacks is None else attacks,
        findings=(Finding("zero_gradients", "2 images of 6"),),
        weights=weights,
    )


def made(*networks: NetworkEvaluation, **changes: object) -> Evaluation:
    evaluation = Evaluation(
        data="digits",
        labels=np.array([0, 0, 1, 1, 2, 2]),
        networks=networks or (network(),),
        conditions=CONDITIONS,
        environment={"backend": "jax"},
    )
    return replace(evaluation, **changes)  # type: ignore[arg-type]


def written(folder: Path, evaluation: Evaluation) -> Path:
    path = folder / "evaluation.json"
    path.write_text(json.dumps(evaluation.to_dict()))
    return path


def test_figures() -> None:
    evaluation = made()
    assert evaluation.images == 6
    assert evaluation.clean_accuracy == 5 / 6
    assert evaluation.robust_accuracy == {"fgsm": 3 / 6, "square_100": 4 / 6}
    assert evaluation.w_robust_accuracy["fgsm"] == pytest.approx(4 / 6)
    worst = [True, False, False, True, False, False]
    assert evaluation.worst_case.robust.tolist() == worst
    fgsm = evaluation.attacks["fgsm"]
    assert fgsm.by_class(evaluation.labels) == {0: 1.0, 1: 0.5, 2: 0.0}
    assert fgsm.worst_class(evaluation.labels) == (2, 0.0)
    assert list(evaluation.columns) == ["clean", "fgsm", "square_100", "worst case"]
    alone = made(network(attacks={"fgsm": fgsm}))
    assert list(alone.columns) == ["clean", "fgsm"]


def test_figures_are_those_of_the_student() -> None:
    teacher = network(CLEAN, role="nat_teacher")
    evaluation = made(teacher, network(role="student"))
    assert evaluation.robust_accuracy["fgsm"] == 0.5
    assert evaluation.results.networks[0].attacks["fgsm"].accuracy == 5 / 6


def test_headline_is_the_wanted_attack_or_the_strongest_of_all_networks() -> None:
    fgsm, square = network().attacks.values()
    assert made().headline == "fgsm", "PGD_trades was not run"
    assert made(wanted="square_100").headline == "square_100"
    teacher = network(role="nat_teacher", attacks={"square_100": square})
    assert made(teacher, network(role="student")).headline == "square_100"
    apart = network(role="nat_teacher", attacks={"ge": fgsm})
    assert made(apart, network(role="student")).headline == "fgsm"
    assert made(network(attacks={})).headline is None


def test_json_and_back(tmp_path: Path) -> None:
    teacher = replace(network(role="adv_teacher"), seconds=2.5)
    evaluation = made(teacher, network(role="student"), pictures=(0, 5))
    path = written(tmp_path, evaluation)
    content = json.loads(path.read_text())
    assert content["schema"] == 2
    student = content["networks"][1]
    assert student["attacks"]["fgsm"]["accuracy"] == 0.5
    assert student["attacks"]["fgsm"]["robust"] == "110100"
    assert student["attacks"]["fgsm"]["predictions"] == "0 0 2 1 1 0"
    assert student["attacks"]["fgsm"]["epsilon"] == 0.1
    assert student["attacks"]["fgsm"]["interval"] == list(wilson_interval(3, 6))
    assert student["attacks"]["square_100"]["predictions"] is None
    assert student["worst_case"]["correct"] == 2
    assert student["findings"] == [
        {"name": "zero_gradients", "message": "2 images of 6"}
    ]
    for place in (tmp_path, path):
        assert Evaluation.load(place).to_dict() == evaluation.to_dict()
    results = read_results(tmp_path)
    assert results.networks == evaluation.results.networks
    assert (results.networks[0].seconds, results.headline) == (2.5, "fgsm")
    assert results.student.attacks["fgsm"].predictions == tuple(ANSWERS)


def test_nested_settings_tell_their_epsilon() -> None:
    settings = {"kind": "Transfer", "attack": {"kind": "PGD", "epsilon": 0.2}}
    evaluation = made(network(attacks={"transfer": Column(FGSM, settings)}))
    assert evaluation.results.student.attacks["transfer"].epsilon == 0.2


def test_the_commands_of_the_same_weights_are_kept() -> None:
    first, second = (made(environment={"commands": [each]}) for each in "ab")
    assert second.added_to(first).environment["commands"] == ["a", "b"]
    assert first.added_to(first).environment["commands"] == ["a"]
    changed = made(network(weights="another"), environment={})
    assert changed.added_to(first).environment == {}


def test_new_attacks_are_added_to_those_of_the_same_weights() -> None:
    fgsm, square = network().attacks.values()
    teacher = network(role="nat_teacher")
    earlier = network(role="student", attacks={"square_100": square, "fgsm": square})
    now = made(network(role="student", attacks={"fgsm": fgsm}))
    both = now.added_to(made(teacher, replace(earlier, seconds=3.0)))
    assert [each.role for each in both.networks] == ["nat_teacher", "student"]
    assert both.robust_accuracy == {"square_100": 4 / 6, "fgsm": 3 / 6}
    assert both.student.seconds == 3.0
    assert len(both.findings) == 1, "each once"
    trained_on = replace(earlier, weights="v")
    assert list(now.added_to(made(trained_on)).attacks) == ["fgsm"]
    unknown = made(network(role="student", attacks={"fgsm": fgsm}, weights=None))
    unknown_before = replace(earlier, weights=None)
    assert list(unknown.added_to(made(unknown_before)).attacks) == ["fgsm"]


def test_later_evaluation_answers_an_earlier_finding() -> None:
    random = Finding("randomised-defence", "By 0.1.")
    fgsm, _ = network().attacks.values()
    first = replace(network(attacks={"fgsm": fgsm}), findings=(random,))
    rand = Column(fgsm.robust, {"kind": "AutoAttack", "version": "rand"})
    again = Finding("randomised-defence", "By 0.2.")
    second = replace(network(attacks={"autoattack_rand": rand}), findings=(again,))
    [found] = made(second).added_to(made(first)).findings
    settled = "robust accuracy is 50.00% under autoattack_rand"
    assert found.message.startswith(f"By 0.2. Settled: {settled}")


def test_table_of_a_training_by_version_0_1_has_no_answers(tmp_path: Path) -> None:
    row = {
        "role": "student",
        "clean_accuracy": 0.5,
        "robust_accuracy": {"fgsm": 0.25},
        "w_robust_accuracy": {"fgsm": 0.375},
        "seconds": None,
    }
    content = {"images": 8, "attacks": {}, "rows": [row]}
    (tmp_path / "evaluation.json").write_text(json.dumps(content))
    with pytest.raises(RunError, match="no outcomes per image.*kmtard evaluate"):
        Evaluation.load(tmp_path)


def test_evaluation_by_version_0_1_has_answers(tmp_path: Path) -> None:
    now = made().to_dict()
    [content] = now["networks"]
    old = {
        **{"format": 1, "model": "a", "data": "d", "fingerprint": "f", "images": 6},
        **{key: content[key] for key in ("clean", "attacks", "worst_case")},
        **{"warnings": [], "environment": {}, "labels": now["labels"]},
    }
    for column in (old["clean"], *old["attacks"].values()):
        del column["predictions"], column["epsilon"]
    (tmp_path / "evaluation.json").write_text(json.dumps(old))
    found = Evaluation.load(tmp_path)
    assert found.robust_accuracy == made().robust_accuracy
    assert found.fingerprint == "f"
    assert found.attacks["fgsm"].predictions is None
    assert len(compare(found, found)) == 4


def test_markdown() -> None:
    text = made(wanted="square_100").to_markdown()
    lines = text.splitlines()
    assert lines[0] == "net_a on 6 images of digits:"
    [fgsm] = [line for line in lines if line.startswith("| fgsm")]
    low, high = (f"{100 * end:.1f}" for end in wilson_interval(3, 6))
    cells = ("fgsm", "50.00", f"{low}-{high}", "66.67", "2", "0.0 (2)")
    assert fgsm == f"| {' | '.join((*cells, '20', '21', '20', '1.5'))} |"
    assert "- fgsm: epsilon 0.1" in lines
    assert "- square_100 after one 66.67" in lines
    assert "- W-Robust, against square_100: 75.00" in lines
    assert lines[-1] == "- **zero_gradients**: 2 images of 6"
    table = [line for line in lines if line.startswith("|")]
    assert {line.count("|") for line in table} == {11}
    assert len(table) == 6


def test_latex() -> None:
    text = made().to_latex()
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {row.count("&") for row in rows} == {9}
    assert r"square\_100 & 66.67" in text
    assert r"95 \%" in text
    assert "% warning: zero_gradients: 2 images of 6" in text.splitlines()


def test_terminal_table() -> None:
    screen = Console(width=160)
    with screen.capture() as shown:
        screen.print(to_rich(attacks_table(made().results, made().results.student)))
    assert "worst case" in shown.get()
    assert "66.67" in shown.get()


def test_comparison() -> None:
    better = np.array([1, 1, 1, 1, 0, 1], bool)
    clean, fgsm, square, worst = compare(made(), made(network(better)))
    assert (clean.attack, clean.p_value) == ("clean", 1)
    assert (fgsm.only_first, fgsm.only_second) == (0, 2)
    assert fgsm.p_value == mcnemar(0, 2) == 0.5
    assert (fgsm.first, fgsm.second) == (3 / 6, 5 / 6)
    assert square.only_first == square.only_second == 0
    assert worst.attack == "worst case"
    screen = Console(width=120)
    with screen.capture() as shown:
        screen.print(to_rich(comparison_table(made(), made(network(better)))))
    assert "-33.33" in shown.get()


def test_comparison_needs_the_same_images() -> None:
    with pytest.raises(ValueError, match="same images"):
        compare(made(), made(conditions={"images": "other"}))


def test_comparison_of_other_attacks_has_no_worst_case() -> None:
    fewer = made(network(attacks={"fgsm": made().attacks["fgsm"]}))
    assert [each.attack for each in compare(made(), fewer)] == ["clean", "fgsm"]
    assert [each.attack for each in compare(fewer, made())] == ["clean", "fgsm"]


def test_comparison_tells_different_settings() -> None:
    fgsm = replace(made().attacks["fgsm"], settings={"epsilon": 0.2})
    other = made(network(attacks={"fgsm": fgsm}), conditions={**CONDITIONS, "seed": 3})
    screen = Console(width=120)
    with screen.capture() as shown:
        screen.print(to_rich(comparison_table(made(), other, ("run-a", ""))))
    assert "settings differ: fgsm" in shown.get()
    assert "conditions differ: seed 0 and 3" in shown.get()
    assert "A: run-a" in shown.get()
    assert "B: net_a" in shown.get()
