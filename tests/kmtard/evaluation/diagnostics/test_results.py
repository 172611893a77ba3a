"""Diagnostics that compare accuracies."""

import numpy as np
import pytest

from kmtard.evaluation.diagnostics.finding import Finding
from kmtard.evaluation.diagnostics.results import (
    below_training,
    check_outcome,
    check_results,
    settled,
)
from tests.kmtard.evaluation.diagnostics.nets import names

pytestmark = pytest.mark.once("torch")


@pytest.mark.parametrize(
    "accuracies, expected",
    [
        ({"pgd": 0.5, "apgd-ce": 0.5, "square": 0.497}, {"square-better"}),
        ({"pgd": 0.5, "apgd-ce": 0.5, "square": 0.499}, set()),
        ({"pgd": 0.5, "square": 0.4}, set()),
        ({"pgd": 0.5, "fgsm": 0.6, "rays_100": 0.49}, {"white-box-weaker"}),
        ({"pgd": 0.5, "transfer_pgd": 0.49}, {"white-box-weaker"}),
        ({"pgd": 0.5, "transfer_pgd": 0.499, "clean": 0.1}, set()),
        ({"rays_100": 0.1}, set()),
    ],
)
def test_results(accuracies, expected):
    kinds = dict.fromkeys(("pgd", "fgsm", "apgd-ce"), "white-box")
    kinds |= {"rays_100": "black-box", "transfer_pgd": "transfer"}
    assert names(check_results(accuracies, kinds)) == expected


LABELS = np.arange(100) % 4
RIGHT = {"fgsm": (5, 8 / 255)}


@pytest.mark.parametrize(
    "predictions, fooled, expected",
    [
        (LABELS, RIGHT, set()),
        (LABELS, {"fgsm": (0, 8 / 255)}, {"nothing-fooled"}),
        (LABELS, {"fgsm": (0, 8 / 255), "square": (1, 8 / 255)}, set()),
        (LABELS, {"fgsm": (0, 1e-5)}, set()),
        (LABELS, {}, set()),
        (np.roll(LABELS, 1), RIGHT, {"clean-near-chance"}),
        (0 * LABELS, RIGHT, {"clean-near-chance", "one-class"}),
        (np.minimum(LABELS, 2), RIGHT, {"class-never-predicted"}),
    ],
)
def test_results_that_smell(predictions, fooled, expected):
    found = check_outcome(LABELS, predictions, fooled, 4)
    assert names(found) == expected
    few = slice(0, 8)
    assert check_outcome(LABELS[few], predictions[few], fooled, 4) == []


@pytest.mark.parametrize(
    "correct, images, trained, smells",
    [
        (800, 1000, 0.9, True),
        (801, 1000, 0.9, False),
        (8, 10, 0.94, False),
        (7, 10, 0.95, True),
        (0, 9, 1.0, False),
        (950, 1000, 0.9, False),
        (10, 1000, None, False),
        (10, 1000, float("nan"), False),
        (10, 1000, 90.0, False),
    ],
)
def test_accuracy_far_below_the_training(correct, images, trained, smells):
    found = below_training(correct, images, trained)
    assert names(found) == ({"clean-below-training"} if smells else set())
    for finding in found:
        assert f"{trained:.2%}" in finding.message
        assert "--input-range 0,255" in finding.message


SETTINGS = {
    "fgsm": {"kind": "PGD"},
    "square": {"kind": "Square"},
    "autoattack_rand": {"kind": "AutoAttack", "version": "rand"},
}


@pytest.mark.parametrize(
    "name, attacks, answer",
    [
        ("zero-gradients", {"fgsm": 0.9}, ""),
        (
            "zero-gradients",
            {"fgsm": 0.9, "square": 0.1},
            "robust accuracy is 10.00% under square",
        ),
        ("zero-gradients", {"fgsm": 0.1, "square": 0.9}, ""),
        ("randomised-defence", {"fgsm": 0.5}, ""),
        (
            "randomised-defence",
            {"fgsm": 0.5, "autoattack_rand": 0.3},
            "robust accuracy is 30.00% under autoattack_rand",
        ),
        ("white-box-weaker", {"fgsm": 0.5, "square": 0.3}, ""),
        ("white-box-weaker", {"fgsm": 0.3, "square": 0.3}, "difference is gone"),
        ("input-range", {"fgsm": 0.9, "square": 0.1}, ""),
    ],
)
def test_answered_findings_say_so(name, attacks, answer):
    settings = {each: SETTINGS[each] for each in attacks}
    for message in ("Words.", "Words. Settled: an older answer."):
        [found] = settled([Finding(name, message)], attacks, settings)
        assert found.message.startswith("Words.")
        assert answer in found.message
        assert found.message.count("Settled") == bool(answer)
