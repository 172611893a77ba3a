"""Signs that a robust accuracy cannot be trusted: each check returns what it found.

Those of AutoAttack (Croce and Hein 2020), of Carlini et al. (2019, "On evaluating
adversarial robustness") and of Pintor et al. (2022, "Indicators of attack failure").
None changes a result. `check_model` looks at a model before it is attacked,
`check_strength` attacks a few images, `check_results` compares accuracies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from keras import ops

from kmtard import backend, losses
from kmtard.attacks import model_checks
from kmtard.attacks.apgd import APGD
from kmtard.attacks.base import Attack
from kmtard.attacks.classifier import Classifier
from kmtard.attacks.gradient import PGD
from kmtard.attacks.model_checks import Finding, Findings, eager_logits, when

__all__ = ["Finding", "check_model", "check_results", "check_strength"]

RUNS = 5
"""Forward passes that must agree."""

TOLERANCE = 0.002
"""Share of images by which a weaker attack may be ahead."""

LARGE_EPSILON = 0.5
"""From here on every image can be made grey."""


def check_model(model: Any, x: Any, y: Any, *, expect_random: bool = False) -> Findings:
    """Look at a model on one batch of images.

    Args:
        model: a Keras model or its `Classifier`.
        x: (batch, ...) float32 in [0, 1].
        y: (batch,) integer labels.
        expect_random: the model is known to be random and attacked accordingly.
    """
    images, labels = backend.to_numpy(x), backend.to_numpy(y)
    classifier = Classifier.of(model, images[:1])
    with model_checks.restored(classifier.model):
        logits = eager_logits(classifier, images)
        found = [
            *model_checks.input_range(images),
            *model_checks.softmax_output(model_checks.raw_outputs(classifier, images)),
            *model_checks.non_finite(classifier, images, labels),
            *model_checks.zero_gradients(classifier, images, labels),
            *model_checks.state_changes(classifier, images),
            *model_checks.dynamic_defence(classifier, images),
            *model_checks.identical_logits(images, logits),
        ]
        if not expect_random:
            runs = [eager_logits(classifier, images) for _ in range(RUNS)]
            found += model_checks.randomised_defence(runs, labels)
            found += model_checks.batch_dependence(classifier, images)
    return found


def check_results(
    accuracies: Mapping[str, float], kinds: Mapping[str, str]
) -> Findings:
    """Compare the robust accuracies of the attacks with each other.

    Args:
        accuracies: attack -> share in [0, 1].
        kinds: attack -> "white-box", "black-box" or "transfer"; others are left out.
    """
    return [*square_better(accuracies), *white_box_weaker(accuracies, kinds)]


def check_strength(model: Any, x: Any, y: Any, *, epsilon: float) -> Findings:
    """Attack one batch by PGD, stronger and stronger.

    Args:
        model: a Keras model or its `Classifier`.
        x: (batch, ...) float32 in [0, 1].
        y: (batch,) integer labels.
        epsilon: L_inf radius of the evaluation.
    """

    def accuracy(radius: float, steps: int) -> float:
        size = 2.5 * radius / steps if steps > 1 else radius
        attack = PGD(radius, step_size=size, steps=steps, start="clean")
        return float(np.mean(~attack.run(model, x, y).success))

    one, few, many = (accuracy(epsilon, steps) for steps in (1, 10, 40))
    return [
        *one_step_stronger(one, min(few, many)),
        *more_steps_weaker(few, many),
        *robust_at_large_epsilon(accuracy(LARGE_EPSILON, 40), LARGE_EPSILON),
    ]


def loss_did_not_grow(
    model: Any, x: Any, x_adv: Any, y: Any, *, limit: float = 0.05
) -> Findings:
    """Find an attack that leaves the cross-entropy of many images as it was.

    Args:
        model: a Keras model or its `Classifier`.
        x: (batch, ...) clean images.
        x_adv: of the same shape, from an attack that returns its last iterate (PGD, CW;
            others return the clean image where they found nothing).
        y: (batch,) labels.
        limit: share of images in [0, 1].
    """
    labels = ops.convert_to_tensor(backend.to_numpy(y), "int32")
    classifier = Classifier.of(model, x[:1])

    def loss(images: Any) -> np.ndarray:
        logits = eager_logits(classifier, backend.to_numpy(images))
        values = losses.cross_entropy(labels, ops.convert_to_tensor(logits))
        return ops.convert_to_numpy(values)

    share = float(np.mean(loss(x_adv) <= loss(x)))
    return when(
        share > limit,
        "loss-did-not-grow",
        f"The loss of {share:.1%} of the images did not grow: the attack fails there "
        "for its own reasons, such as zero gradients or too small a step.",
    )


def few_classes(num_classes: int, attacks: Mapping[str, Attack]) -> Findings:
    """Tell where too few classes make an attack differ from its definition."""
    found = []
    for name, attack in attacks.items():
        targets = getattr(attack, "targets", 0)
        changes = []
        if targets > num_classes - 1:
            changes.append(f"{num_classes - 1} targets instead of {targets}")
        if isinstance(attack, APGD) and attack.loss == "dlr":
            if num_classes == 2:
                changes.append("the margin loss instead of DLR")
            elif num_classes == 3 and targets:
                changes.append("z_(3) instead of the mean of z_(3) and z_(4) in DLR")
        if changes:
            message = f"{name}: {'; '.join(changes)}, for {num_classes} classes."
            found.append(Finding("few-classes", message))
    return found


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


def one_step_stronger(one: float, many: float) -> Findings:
    """Find robust accuracy lower after one step than after many."""
    return when(
        one < many - TOLERANCE,
        "one-step-stronger",
        f"One step leaves {one:.2%}, many {many:.2%}: the loss surface misleads "
        "iterative attacks.",
    )


def more_steps_weaker(few: float, many: float) -> Findings:
    """Find robust accuracy higher after more steps."""
    return when(
        many > few + TOLERANCE,
        "more-steps-weaker",
        f"More steps leave {many:.2%}, fewer {few:.2%}: tune the step size.",
    )


def robust_at_large_epsilon(accuracy: float, epsilon: float) -> Findings:
    """Find robust accuracy above 0 where all images can be made equal."""
    return when(
        epsilon >= LARGE_EPSILON and accuracy > 0,
        "robust-at-large-epsilon",
        f"{accuracy:.2%} are robust at epsilon {epsilon:g}, where all images can be "
        "made equal: the attack fails, the model is not robust.",
    )
