"""Diagnostics that run short attacks, or check the settings and results of attacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from kmtard import backend, losses
from kmtard.attacks.apgd import APGD
from kmtard.attacks.base import Attack
from kmtard.attacks.classifier import Classifier
from kmtard.attacks.gradient import PGD
from kmtard.backend.types import Array, Labels
from kmtard.evaluation.diagnostics.finding import Finding, Findings, when
from kmtard.evaluation.diagnostics.model import eager_logits
from kmtard.evaluation.diagnostics.results import TOLERANCE, tolerance_of

LARGE_EPSILON = 0.5
"""Smallest L_inf radius at which every image can become uniformly gray."""


def check_strength(
    model: keras.Model | Classifier, x: Array, y: Labels, *, epsilon: float
) -> Findings:
    """Attack one batch by PGD with more steps and a larger epsilon.

    Args:
        model: a Keras model or its `Classifier`.
        x: (batch, ...) float32 in [0, 1].
        y: (batch,) integer labels.
        epsilon: L_inf radius of the evaluation, in pixel intensity.
    """
    classifier = Classifier.of(model, x[:1])

    def accuracy(radius: float, steps: int) -> float:
        size = 2.5 * radius / steps if steps > 1 else radius
        attack = PGD(radius, step_size=size, steps=steps, start="clean")
        return float(np.mean(~attack.run(classifier, x, y).success))

    one, few, many = (accuracy(epsilon, steps) for steps in (1, 10, 40))
    # Two images of one batch may differ by chance.
    tolerance = tolerance_of(len(x))
    return [
        *one_step_stronger(one, min(few, many), tolerance),
        *more_steps_weaker(few, many, tolerance),
        *robust_at_large_epsilon(accuracy(LARGE_EPSILON, 40), LARGE_EPSILON),
    ]


def loss_did_not_grow(
    model: keras.Model | Classifier,
    x: Array,
    x_adv: Array,
    y: Labels,
    *,
    limit: float = 0.05,
) -> Findings:
    """Find an attack that does not increase the cross-entropy of many images.

    Args:
        model: a Keras model or its `Classifier`.
        x: (batch, ...) clean images in [0, 1].
        x_adv: (batch, ...) images from an attack that returns its last iterate, such as
            PGD or CW. Other attacks return the clean image when they fail.
        y: (batch,) integer labels.
        limit: share of such images that is accepted, in [0, 1].
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
        f"The loss of {share:.1%} of the images did not increase. The attack fails "
        "there, for example because of zero gradients or too small a step size.",
    )


def few_classes(num_classes: int, attacks: Mapping[str, Attack]) -> Findings:
    """Find attacks that differ from their definition because of few classes.

    Args:
        num_classes: number of classes of the model.
        attacks: name -> attack.
    """
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


def one_step_stronger(
    one: float, many: float, tolerance: float = TOLERANCE
) -> Findings:
    """Find a robust accuracy that is lower after one step than after many."""
    return when(
        one < many - tolerance,
        "one-step-stronger",
        f"Robust accuracy is {one:.2%} after one step and {many:.2%} after many: the "
        "loss surface misleads iterative attacks.",
    )


def more_steps_weaker(
    few: float, many: float, tolerance: float = TOLERANCE
) -> Findings:
    """Find a robust accuracy that is higher after more steps."""
    return when(
        many > few + tolerance,
        "more-steps-weaker",
        f"Robust accuracy is {many:.2%} after more steps and {few:.2%} after fewer: "
        "tune the step size.",
    )


def robust_at_large_epsilon(accuracy: float, epsilon: float) -> Findings:
    """Find a robust accuracy above 0 at an epsilon that can make all images equal."""
    return when(
        epsilon >= LARGE_EPSILON and accuracy > 0,
        "robust-at-large-epsilon",
        f"Robust accuracy is {accuracy:.2%} at epsilon {epsilon:g}, which can make all "
        "images equal: the attack fails, and the model is not robust.",
    )
