"""The verdict: causes before consequences, and what to run next."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import kmtard
from kmtard.evaluation.diagnostics.results import SETTLED
from kmtard.runs.records import Finding, NetworkResults, Score
from kmtard.runs.verdict import CAUSES, RESTRICTIONS, verdict

pytestmark = pytest.mark.once("torch")

INTERVAL = (0.4, 0.6)


def attacked(kind: str, accuracy: float = 0.5) -> Score:
    return Score(accuracy, interval=INTERVAL, settings={"kind": kind}, epsilon=8 / 255)


def network(*findings: str, **attacks: Score) -> NetworkResults:
    return NetworkResults(
        role="student",
        name="net",
        clean=Score(0.9),
        attacks=attacks,
        headline=next(iter(attacks), None),
        findings=tuple(Finding(name, "Words.") for name in findings),
    )


def test_autoattack_without_findings_may_be_quoted() -> None:
    found = verdict(network("few-classes", autoattack=attacked("AutoAttack")))
    assert found.may_be_quoted
    assert "50.00 % robust accuracy" in found.sentence
    assert "40.0 to 60.0" in found.sentence
    assert "epsilon 8/255" in found.sentence
    assert "90.00 % clean" in found.sentence
    assert (found.reasons, found.attacks, found.advice) == ((), (), "")


def test_the_accuracy_under_all_attacks_is_quoted() -> None:
    results = network(autoattack=attacked("AutoAttack"), rays_100=attacked("RayS", 0.3))
    results = replace(results, worst_case=Score(0.2, interval=(0.1, 0.3)))
    assert "20.00 % robust accuracy" in verdict(results).sentence


@pytest.mark.parametrize("attacks", [{}, {"fgsm": attacked("PGD")}])
def test_a_weak_attack_must_not_be_quoted(attacks: dict[str, Score]) -> None:
    found = verdict(network(**attacks))
    assert not found.may_be_quoted
    assert found.attacks == ("autoattack",)
    assert ("fgsm" if attacks else "no attack") in found.sentence


@pytest.mark.parametrize(
    ("findings", "because", "attacks"),
    [
        (("zero-gradients",), "gradients mislead", ("autoattack", "square")),
        (("randomised-defence",), "random", ("autoattack_rand",)),
        (("nothing-fooled", "input-scale"), "images that it was trained for", ()),
        (("zero-gradients", "randomised-defence"), "random", ("autoattack_rand",)),
        (("square-better", "non-finite"), "not finite", ()),
        (("batch-dependence",), "other images", ()),
        (("dynamic-defence",), "in its own prediction", ()),
        (("abstains",), "abstain", ()),
        (("outside-ball",), "outside of its ball", ()),
    ],
)
def test_causes_come_before_consequences(
    findings: tuple[str, ...], because: str, attacks: tuple[str, ...]
) -> None:
    found = verdict(network(*findings, "few-classes", fgsm=attacked("PGD")))
    assert not found.may_be_quoted
    assert because in found.sentence
    assert found.attacks == attacks
    assert bool(found.advice) is not bool(found.attacks)
    assert {each.name for each in found.reasons} == set(findings)
    cause = next(each for each in CAUSES if because in each.because)
    assert found.reasons[0].name in cause.findings


def test_attacks_that_were_run_are_not_asked_for_again() -> None:
    results = network("square-better", autoattack=attacked("AutoAttack"))
    assert verdict(results).attacks == ("square",)
    both = {"autoattack": attacked("AutoAttack"), "square": attacked("Square")}
    found = verdict(network("square-better", **both))
    assert found.attacks == ()
    assert "no fixed attack replaces it" in found.advice


def test_settled_findings_do_not_count() -> None:
    results = network(autoattack=attacked("AutoAttack"))
    answered = Finding("zero-gradients", f"Words.{SETTLED}use this number.")
    assert answered.is_settled
    assert verdict(replace(results, findings=(answered,))).may_be_quoted
    open_one = Finding("zero-gradients", "Words.")
    assert not verdict(replace(results, findings=(answered, open_one))).may_be_quoted


def test_the_restrictions_of_robustbench_are_those_of_the_diagnostics() -> None:
    folder = Path(kmtard.__file__).parent / "evaluation" / "diagnostics"
    source = (folder / "model.py").read_text()
    for restriction in RESTRICTIONS:
        assert all(f'"{name}"' in source for name in restriction.findings)
    assert len(RESTRICTIONS) == 3


def test_no_finding_belongs_to_two_causes() -> None:
    names = [name for cause in CAUSES for name in cause.findings]
    assert len(names) == len(set(names))
    assert all(cause.attacks or cause.advice for cause in CAUSES)
