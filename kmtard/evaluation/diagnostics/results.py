"""Diagnostics that compare the accuracies of an evaluation with each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from kmtard.evaluation.diagnostics.finding import Finding, Findings, when
from kmtard.evaluation.statistics import wilson_interval
from kmtard.runs.records import SETTLED

TOLERANCE = 0.002
"""Difference in robust accuracy up to which a weaker attack may seem stronger."""

FEW = 10
"""Smallest number of images from which a diagnostic draws a conclusion."""

OFTEN = 0.1
"""Share of the changed predictions from which a class without images is reported."""

FAR_BELOW = 0.1
"""A clean accuracy that is this much lower than in training is reported."""

BLACK_BOX = frozenset({"Square", "RayS", "GradientEstimation", "HopSkipJump"})

COMPARED = frozenset({"square-better", "white-box-weaker"})
"""Findings of `check_results`."""

OF_GRADIENTS = frozenset(
    {
        *("zero-gradients", "loss-did-not-grow", "one-step-stronger"),
        *("more-steps-weaker", "robust-at-large-epsilon", "nothing-fooled"),
    }
)
"""Findings that an attack without gradients, or AutoAttack, can settle."""

RANGE_FIX = (
    "If the model expects images of 0 to 255, use --input-range 0,255, or "
    "input_range=(0, 255) in code."
)


def check_results(
    accuracies: Mapping[str, float],
    kinds: Mapping[str, str],
    *,
    tolerance: float = TOLERANCE,
) -> Findings:
    """Compare the robust accuracies of the attacks with each other.

    Args:
        accuracies: attack -> robust accuracy in [0, 1].
        kinds: attack -> "white-box", "black-box" or "transfer"; attacks without a kind
            are not compared by kind.
        tolerance: difference up to which an attack may seem stronger; see
            `tolerance_of`.
    """
    return [
        *square_better(accuracies, tolerance),
        *white_box_weaker(accuracies, kinds, tolerance),
    ]


def tolerance_of(images: int) -> float:
    """Return the difference in accuracy that two images make, at least `TOLERANCE`.

    Example:
        >>> tolerance_of(10_000), tolerance_of(100)
        (0.002, 0.025)
    """
    return max(TOLERANCE, 2.5 / images)


def square_better(
    accuracies: Mapping[str, float], tolerance: float = TOLERANCE
) -> Findings:
    """Find Square stronger than all other attacks: a sign of masked gradients."""
    others = [value for name, value in accuracies.items() if name != "square"]
    if "square" not in accuracies or len(others) < 2:
        return []
    return when(
        accuracies["square"] < min(others) - tolerance,
        "square-better",
        f"Robust accuracy is {accuracies['square']:.2%} under Square and at least "
        f"{min(others):.2%} under all other attacks: gradients are probably masked. "
        "Adapt the attack.",
    )


def white_box_weaker(
    accuracies: Mapping[str, float],
    kinds: Mapping[str, str],
    tolerance: float = TOLERANCE,
) -> Findings:
    """Find black-box or transfer attacks stronger than every white-box attack."""
    white = [a for name, a in accuracies.items() if kinds.get(name) == "white-box"]
    found = []
    for name, accuracy in accuracies.items() if white else ():
        found += when(
            kinds.get(name) in ("black-box", "transfer")
            and accuracy < min(white) - tolerance,
            "white-box-weaker",
            f"Robust accuracy is {accuracy:.2%} under {name} and {min(white):.2%} "
            "under the strongest white-box attack: gradients are probably masked. "
            "Adapt the attack.",
        )
    return found


def kind_of(settings: Mapping[str, Any]) -> str:
    """Return "white-box", "black-box" or "transfer" for the settings of an attack."""
    kind = settings.get("kind")
    if kind == "Transfer":
        return "transfer"
    return "black-box" if kind in BLACK_BOX else "white-box"


def check_outcome(
    labels: np.ndarray,
    predictions: np.ndarray,
    fooled: Mapping[str, tuple[int, float]],
    num_classes: int,
    *,
    class_names: Sequence[str] = (),
) -> Findings:
    """Find results that are possible but usually mean a mistake.

    Args:
        labels: int (images,).
        predictions: int (images,), the predicted classes of the clean images.
        fooled: attack -> (number of fooled images, epsilon).
        num_classes: number of classes of the model.
        class_names: names of class 0, 1 and so on; empty for their numbers.
    """
    images, right = len(labels), labels == predictions
    if images < FEW:
        return []
    accuracy, chance = float(np.mean(right)), 1 / num_classes
    # Two standard deviations above the accuracy of random guessing.
    near = chance + 2 * float(np.sqrt(chance * (1 - chance) / images))
    found = when(
        accuracy <= near,
        "clean-near-chance",
        f"Clean accuracy is {accuracy:.2%}; random guessing has {chance:.2%}. Scaling, "
        "normalization, channel order or class order probably differ from the model's "
        f"training. {RANGE_FIX}",
    )
    found += _predicted_classes(labels, predictions, class_names)
    attacked = int(np.count_nonzero(right))
    strong = [name for name, (_, epsilon) in fooled.items() if epsilon >= 1 / 255]
    none = strong and not any(fooled[name][0] for name in strong)
    found += when(
        none and attacked >= FEW,
        "nothing-fooled",
        f"None of {attacked} images was fooled ({', '.join(strong)}): probably no "
        "gradient reaches the images, or epsilon is too small for the model's input "
        f"range. Run square and autoattack. {RANGE_FIX}",
    )
    return found


def abstains(
    labels: np.ndarray, clean: np.ndarray, attacked: Mapping[str, np.ndarray | None]
) -> Findings:
    """Find a class without images that is predicted for attacked images: a detector.

    Args:
        labels: int (images,).
        clean: int (images,), the predicted classes of the clean images.
        attacked: attack -> int (images,), the predicted classes under it; None if they
            were not recorded.
    """
    if len(labels) < FEW:
        return []
    found = []
    for name, predictions in attacked.items():
        if predictions is None:
            continue
        changed = predictions != clean
        other = int(np.count_nonzero(~np.isin(predictions[changed], labels)))
        found += when(
            other > OFTEN * np.count_nonzero(changed),
            "abstains",
            f"{name}: {other} of {np.count_nonzero(changed)} changed predictions are "
            "of a class that no image has. If the model abstains by this class, an "
            "attack that also avoids the detector is needed.",
        )
    return found


def below_training(correct: int, images: int, trained: float | None) -> Findings:
    """Find a clean accuracy that is far below the one in the model's training.

    Args:
        correct: number of correctly classified images.
        images: number of images.
        trained: clean accuracy of the model in training, in [0, 1]; None if unknown.
    """
    if trained is None or not 0 <= trained <= 1 or images < FEW:
        return []
    accuracy, (_, high) = correct / images, wilson_interval(correct, images)
    return when(
        round(trained - accuracy, 6) >= FAR_BELOW and trained > high,
        "clean-below-training",
        f"Clean accuracy is {accuracy:.2%}; in training, or as published, it was "
        f"{trained:.2%}. Probably the images are of another data set or range, or the "
        "weights are of another file. Evaluate on the data set of the training, and "
        f"check the path and the date of the model file. {RANGE_FIX}",
    )


def _predicted_classes(
    labels: np.ndarray, predictions: np.ndarray, class_names: Sequence[str]
) -> Findings:
    def named(label: int) -> str:
        # The model may have more classes than the data have names.
        return class_names[label] if label < len(class_names) else str(label)

    classes, counts = np.unique(labels, return_counts=True)
    known = np.unique(predictions)
    if len(known) == 1 and len(classes) > 1:
        return [
            Finding(
                "one-class",
                f"Class {named(int(known[0]))} is predicted for all {len(labels)} "
                "images: the model is probably untrained, or expects images of another "
                "range. "
                f"{RANGE_FIX}",
            )
        ]
    never = [named(int(c)) for c in classes[counts >= FEW] if c not in known]
    return when(
        never,
        "class-never-predicted",
        f"The classes {', '.join(never)} have images but are never "
        "predicted: check that the order of the classes is that of the training.",
    )


def settled(
    findings: Iterable[Finding],
    accuracies: Mapping[str, float],
    settings: Mapping[str, Mapping[str, Any]],
) -> Findings:
    """Return findings, with an answer added to those that an attack has settled.

    Args:
        findings: the findings about a network. Earlier answers in them are replaced.
        accuracies: attack -> robust accuracy in [0, 1].
        settings: attack -> its settings.
    """
    kinds = {name: kind_of(each) for name, each in settings.items()}
    now = {finding.name for finding in check_results(accuracies, kinds)}
    averaging = [name for name, each in settings.items() if _averages(each)]
    strongest = min(accuracies, key=lambda name: accuracies[name], default="")
    told = f"robust accuracy is {accuracies.get(strongest, 0):.2%} under {strongest}"

    def answer(name: str) -> str:
        if name == "randomised-defence" and averaging:
            best = min(averaging, key=lambda name: accuracies[name])
            text = (
                f"robust accuracy is {accuracies[best]:.2%} under {best}, which "
                "averages over random draws."
            )
        elif name in COMPARED and name not in now:
            text = f"{told}; the difference is gone."
        elif name in OF_GRADIENTS and _without_gradients(strongest, settings):
            text = f"{told}, which does not depend on these gradients. Use this number."
        else:
            return ""
        return SETTLED + text

    return [
        Finding(each.name, each.message.partition(SETTLED)[0] + answer(each.name))
        for each in findings
    ]


def _averages(settings: Mapping[str, Any]) -> bool:
    """Return whether an attack is made for randomized models."""
    return settings.get("version") == "rand" or (settings.get("eot") or 1) > 1


def _without_gradients(name: str, settings: Mapping[str, Mapping[str, Any]]) -> bool:
    """Return whether an attack can settle findings about gradients of other attacks."""
    each = settings.get(name, {})
    if each.get("kind") == "AutoAttack":
        return True
    return len(settings) > 1 and kind_of(each) == "black-box"
