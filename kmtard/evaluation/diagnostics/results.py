"""Diagnostics that compare the accuracies of an evaluation with each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from kmtard.evaluation.diagnostics.finding import Finding, Findings, when
from kmtard.evaluation.statistics import wilson_interval

TOLERANCE = 0.002
"""Share of images by which a weaker attack may be ahead."""

FEW = 10
"""Fewer images than these show nothing by what is missing among them."""

FAR_BELOW = 0.1
"""Clean accuracy that is lower than in training by this share smells."""

BLACK_BOX = frozenset({"Square", "RayS", "GradientEstimation"})

COMPARED = frozenset({"square-better", "white-box-weaker"})
"""Findings of `check_results`."""

OF_GRADIENTS = frozenset(
    {
        *("zero-gradients", "loss-did-not-grow", "one-step-stronger"),
        *("more-steps-weaker", "robust-at-large-epsilon", "nothing-fooled"),
    }
)
"""Findings that an attack which needs no gradient, or AutoAttack, can answer."""

SETTLED = " Settled: "
"""Begins what was found since, at the end of a message."""

RANGE_FIX = (
    "A model made for images of 0 to 255 is evaluated with --input-range 0,255, or "
    "input_range=(0, 255) in code."
)


def check_results(
    accuracies: Mapping[str, float], kinds: Mapping[str, str]
) -> Findings:
    """Compare the robust accuracies of the attacks with each other.

    Args:
        accuracies: attack -> share in [0, 1].
        kinds: attack -> "white-box", "black-box" or "transfer"; others are left out.
    """
    return [*square_better(accuracies), *white_box_weaker(accuracies, kinds)]


def square_better(accuracies: Mapping[str, float]) -> Findings:
    """Find Square ahead of all others: a sign that gradients are masked."""
    others = [value for name, value in accuracies.items() if name != "square"]
    if "square" not in accuracies or len(others) < 2:
        return []
    return when(
        accuracies["square"] < min(others) - TOLERANCE,
        "square-better",
        f"Square leaves {accuracies['square']:.2%}, all others at least "
        f"{min(others):.2%}: gradients are probably masked. Adapt the attack.",
    )


def white_box_weaker(
    accuracies: Mapping[str, float], kinds: Mapping[str, str]
) -> Findings:
    """Find black-box or transfer attacks ahead of every white-box attack."""
    white = [a for name, a in accuracies.items() if kinds.get(name) == "white-box"]
    found = []
    for name, accuracy in accuracies.items() if white else ():
        found += when(
            kinds.get(name) in ("black-box", "transfer")
            and accuracy < min(white) - TOLERANCE,
            "white-box-weaker",
            f"{name} leaves {accuracy:.2%}, the best white-box attack "
            f"{min(white):.2%}: gradients are probably masked. Adapt the attack.",
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
    """Look for results that smell: they are possible, and mostly mean a mistake.

    Args:
        labels: int (images,).
        predictions: int (images,), of the clean images.
        fooled: attack -> number of fooled images, and its epsilon.
        num_classes: of the model.
        class_names: what people call class 0, 1 and so on; empty for their numbers.
    """
    images, right = len(labels), labels == predictions
    if images < FEW:
        return []
    accuracy, chance = float(np.mean(right)), 1 / num_classes
    # Two standard deviations of guessing.
    near = chance + 2 * float(np.sqrt(chance * (1 - chance) / images))
    found = when(
        accuracy <= near,
        "clean-near-chance",
        f"{accuracy:.2%} of the clean images are right; guessing gets {chance:.2%}: "
        "the images are probably scaled, normalized or ordered in other ways than in "
        f"the model's training, or its classes are. {RANGE_FIX}",
    )
    found += _predicted_classes(labels, predictions, class_names)
    attacked = int(np.count_nonzero(right))
    strong = [name for name, (_, epsilon) in fooled.items() if epsilon >= 1 / 255]
    none = strong and not any(fooled[name][0] for name in strong)
    found += when(
        none and attacked >= FEW,
        "nothing-fooled",
        f"None of {attacked} images was fooled ({', '.join(strong)}): probably no "
        "gradient reaches the images, or epsilon is too small for what the model "
        f"reads. Run square and autoattack. {RANGE_FIX}",
    )
    return found


def below_training(correct: int, images: int, trained: float | None) -> Findings:
    """Find a clean accuracy far below the one that the model's training had.

    Args:
        correct: images that the model has right.
        images: how many there are.
        trained: clean accuracy of the model in training, in [0, 1]; None where it is
            not known.
    """
    if trained is None or not 0 <= trained <= 1 or images < FEW:
        return []
    accuracy, (_, high) = correct / images, wilson_interval(correct, images)
    return when(
        round(trained - accuracy, 6) >= FAR_BELOW and trained > high,
        "clean-below-training",
        f"{accuracy:.2%} of the clean images are right; in its training the model had "
        f"{trained:.2%}: these are probably other data than those that it was trained "
        "on, in another range, or the weights are of another file. Evaluate on the "
        "data set of the training, and check the path of the model and when the file "
        f"was written. {RANGE_FIX}",
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
                "images: the model is probably untrained, or its images are scaled in "
                "another way. "
                f"{RANGE_FIX}",
            )
        ]
    never = [named(int(c)) for c in classes[counts >= FEW] if c not in known]
    return when(
        never,
        "class-never-predicted",
        f"The classes {', '.join(never)} have images and are never "
        "predicted: is the order of the classes that of the model's training?",
    )


def settled(
    findings: Iterable[Finding],
    accuracies: Mapping[str, float],
    settings: Mapping[str, Mapping[str, Any]],
) -> Findings:
    """Return findings, those that an attack has answered with its answer.

    Args:
        findings: of a network, answers of earlier evaluations perhaps at their ends.
        accuracies: attack -> share in [0, 1].
        settings: attack -> its settings.
    """
    kinds = {name: kind_of(each) for name, each in settings.items()}
    now = {finding.name for finding in check_results(accuracies, kinds)}
    averaging = [name for name, each in settings.items() if _averages(each)]
    strongest = min(accuracies, key=lambda name: accuracies[name], default="")
    told = f"{strongest} leaves {accuracies.get(strongest, 0):.2%}"

    def answer(name: str) -> str:
        if name == "randomised-defence" and averaging:
            best = min(averaging, key=lambda name: accuracies[name])
            text = f"{best} averages over draws and leaves {accuracies[best]:.2%}."
        elif name in COMPARED and name not in now:
            text = f"{told}, and this difference is gone."
        elif name in OF_GRADIENTS and _without_gradients(strongest, settings):
            text = f"{told}, and it does not rest on these gradients: it counts."
        else:
            return ""
        return SETTLED + text

    return [
        Finding(each.name, each.message.partition(SETTLED)[0] + answer(each.name))
        for each in findings
    ]


def _averages(settings: Mapping[str, Any]) -> bool:
    """Tell whether an attack is made for random models."""
    return settings.get("version") == "rand" or (settings.get("eot") or 1) > 1


def _without_gradients(name: str, settings: Mapping[str, Mapping[str, Any]]) -> bool:
    """Tell whether an attack answers for weaker ones, which must be there."""
    each = settings.get(name, {})
    return len(settings) > 1 and (
        kind_of(each) == "black-box" or each.get("kind") == "AutoAttack"
    )
