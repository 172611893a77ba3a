"""Choose and run the diagnostics of an evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from kmtard.attacks import PGD, Attack
from kmtard.attacks.autoattack import AutoAttack
from kmtard.attacks.classifier import Classifier
from kmtard.backend.types import Labels
from kmtard.evaluation.diagnostics.attacks import (
    check_strength,
    few_classes,
    loss_did_not_grow,
)
from kmtard.evaluation.diagnostics.finding import Finding
from kmtard.evaluation.diagnostics.model import check_model
from kmtard.evaluation.diagnostics.results import (
    abstains,
    check_outcome,
    check_results,
    kind_of,
    settled,
    tolerance_of,
)
from kmtard.runs.results import epsilon_of

if TYPE_CHECKING:
    from kmtard.evaluation.images import ImageSet
    from kmtard.evaluation.result import Column


def of_model(
    classifier: Classifier, x: np.ndarray, y: np.ndarray, attacks: Mapping[str, Attack]
) -> list[Finding]:
    """Return findings about a model from one batch, before the attacks run.

    Args:
        classifier: the classifier of the model.
        x: (batch, ...) images in [0, 1].
        y: (batch,) integer labels.
        attacks: name -> attack; short attacks use their largest L_inf radius.
    """
    members = dict(_members(attacks))
    is_random = any(getattr(attack, "eot", 1) > 1 for attack in members.values())
    found = check_model(classifier, x, y, expect_random=is_random)
    found += few_classes(classifier.num_classes, members)
    radii = [a.epsilon for a in attacks.values() if norm_of(a) == "linf"]
    if radii:
        found += check_strength(classifier, x, y, epsilon=max(radii))
    return found


def of_batch(
    attack: Attack, classifier: Classifier, x: np.ndarray, x_adv: np.ndarray, y: Labels
) -> list[Finding]:
    """Return findings about the adversarial images of one batch."""
    if not (isinstance(attack, PGD) and attack.loss == "ce"):
        return []
    return loss_did_not_grow(classifier, x, x_adv, y)


def of_results(columns: Mapping[str, Column]) -> list[Finding]:
    """Return findings from comparing attacks with each other."""
    accuracies = {name: column.accuracy for name, column in columns.items()}
    kinds = {name: kind_of(column.settings) for name, column in columns.items()}
    images = max((len(column.robust) for column in columns.values()), default=1)
    tolerance = tolerance_of(images)
    found = check_results(accuracies, kinds, tolerance=tolerance)
    for column in columns.values():
        if column.stages:
            stages = {name: n / images for name, n in column.stages.items()}
            found += check_results(stages, {}, tolerance=tolerance)
    return found


def of_outcome(
    clean: Column, columns: Mapping[str, Column], images: ImageSet, num_classes: int
) -> list[Finding]:
    """Return findings about results that usually mean a mistake.

    Args:
        clean: the outcome on clean images.
        columns: name of the attack -> outcome.
        images: the images, with labels and names of classes.
        num_classes: number of classes of the model.
    """
    if clean.predictions is None:  # a batch of version 0.1
        return []
    fooled = {
        name: (clean.correct - column.correct, epsilon_of(column.settings) or 0.0)
        for name, column in columns.items()
    }
    attacked = {name: column.predictions for name, column in columns.items()}
    return [
        *check_outcome(
            images.labels,
            clean.predictions,
            fooled,
            num_classes,
            class_names=images.class_names,
        ),
        *abstains(images.labels, clean.predictions, attacked),
    ]


def with_answers(
    findings: Iterable[Finding], columns: Mapping[str, Column]
) -> list[Finding]:
    """Return findings, with an answer added to those that an attack has settled."""
    accuracies = {name: column.accuracy for name, column in columns.items()}
    settings = {name: column.settings for name, column in columns.items()}
    return settled(findings, accuracies, settings)


def norm_of(attack: Attack) -> str:
    """Return the norm of an attack's ball; "linf" if the attack has no norm."""
    return str(getattr(getattr(attack, "attack", attack), "norm", "linf"))


def _members(attacks: Mapping[str, Attack]) -> Iterator[tuple[str, Attack]]:
    for name, attack in attacks.items():
        yield name, attack
        if isinstance(attack, AutoAttack):
            for member, each in attack.attacks.items():
                yield f"{name}, {member}", each
