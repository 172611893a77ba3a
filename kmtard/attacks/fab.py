"""FAB: the shortest move that changes the prediction (Croce & Hein 2020)."""

from __future__ import annotations

import functools
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from kmtard import backend
from kmtard.attacks.arguments import one_of
from kmtard.attacks.base import Attack, AttackBatch, Found
from kmtard.attacks.classifier import Classifier
from kmtard.attacks.noise import Noise
from kmtard.attacks.norms import NORMS, column
from kmtard.attacks.projection import box_projection, dual_length, length
from kmtard.attacks.shrinking import shrinking_loop
from kmtard.backend.types import Labels, Tensor
from kmtard.registry.ranges import (
    AnyRadius,
    AtLeastOne,
    InnerShare,
    Repeats,
    Share,
    SomeTargets,
    Steps,
    checked,
)

CHECK_EVERY = 20
"""Steps between two looks at which images are fooled."""

SHORTEST = 1e-8
"""What a move counts as at least when two of them are weighed."""


class Descent(NamedTuple):
    """State of the search, one entry per image.

    Attributes:
        u: (batch, ...) the iterate.
        nearest: (batch, ...) the nearest misclassified iterate, x if there is none.
        distance: (batch,) float32, its distance from x, infinity if there is none.
    """

    u: Tensor
    nearest: Tensor
    distance: Tensor


@keras.saving.register_keras_serializable(package="kmtard")
class FAB(Attack):
    """Fast adaptive boundary attack.

    Croce & Hein 2020, "Minimally distorted adversarial examples with a fast adaptive
    boundary attack", as AutoAttack runs it. A step takes the boundary between the label
    and another class for a hyperplane, moves the iterate u and the image x onto it
    within [0, 1], by d_u and d_x, and mixes the two:

    `a = min(|d_u| / (|d_u| + |d_x|), alpha_max)`
    `u <- clip((1 - a) (u + eta d_u) + a (x + eta d_x), 0, 1)`

    A misclassified u is kept if it is the nearest so far, and then drawn back to
    `x + beta (u - x)`. The first run starts at x; restarts start at random, epsilon / 2
    away. Epsilon plays no other part in the steps.

    The nearest point comes back if it is within epsilon, otherwise x.

    Args:
        epsilon: radius, >= 0, in pixel intensity (L_inf) or Euclidean length (L2);
            infinity takes any point that is misclassified.
        steps: number of steps, >= 0.
        restarts: runs for each target, >= 1; more than one need a finite epsilon.
        targeted: aim at the classes one after the other, best clean logit first; or
            at each step at the class whose hyperplane is nearest, which takes the
            gradients of all classes.
        targets: how many classes to aim at, >= 1; never more than there are.
        norm: "linf" or "l2".
        alpha_max: the most that x weighs in the mixture, in [0, 1].
        eta: how far to overshoot the hyperplane, >= 1.
        beta: how far from x to go on after a success, in (0, 1).
        early_stop: leave an image alone once a point within epsilon is known. The same
            images are fooled; without it, the search for the nearest point goes on.

    Raises:
        ValueError: an argument is out of its range or not known.

    Example:
        >>> attack = kmtard.attacks.FAB(float("inf"), norm="l2", early_stop=False)
        >>> moves = (attack(model, x, y) - x).reshape(len(x), -1)
        >>> distances = np.linalg.norm(moves, axis=1)
    """

    @checked
    def __init__(
        self,
        epsilon: AnyRadius = 8 / 255,
        *,
        steps: Steps = 100,
        restarts: Repeats = 1,
        targeted: bool = True,
        targets: SomeTargets = 9,
        norm: str = "linf",
        alpha_max: Share = 0.1,
        eta: AtLeastOne = 1.05,
        beta: InnerShare = 0.9,
        early_stop: bool = True,
    ) -> None:
        self.epsilon = epsilon
        self.steps = int(steps)
        self.restarts = int(restarts)
        self.targeted = targeted
        self.targets = int(targets)
        self.norm = one_of("norm", norm, NORMS)
        self.alpha_max = alpha_max
        self.eta = eta
        self.beta = beta
        self.early_stop = early_stop
        if restarts > 1 and not np.isfinite(epsilon):
            raise ValueError(
                "A restart begins epsilon / 2 away from the image: `epsilon` must be "
                f"finite. Received: epsilon={epsilon}, restarts={restarts}"
            )

    def attack_batch(self, classifier: Classifier, batch: AttackBatch) -> Found:
        """Return the nearest points within epsilon; see `Attack.attack_batch`."""
        x, y = batch.x, batch.y
        logits = classifier.scores(x)
        correct = batch.where_correct(logits.argmax(axis=1))
        state = Descent(x, x, ops.full(y.shape, np.inf, "float32"))
        steps = np.zeros(len(correct), int)
        for rank, target in enumerate(self._aims(logits)):
            for restart in range(self.restarts):
                start = self._start(x, batch.noise, rank, restart)
                state, taken = self.descend(
                    classifier, state._replace(u=start), x, y, target, correct
                )
                steps += taken
        gradients = 1 if self.targeted else classifier.num_classes
        forwards = batch.active + (gradients + 1) * steps
        within = ops.reshape(state.distance <= self.epsilon, column(x))
        return Found(
            ops.where(within, state.nearest, x), forwards, forwards, gradients * steps
        )

    def descend(
        self,
        classifier: Classifier,
        state: Descent,
        x: Tensor,
        y: Labels,
        target: Labels,
        active: np.ndarray,
    ) -> tuple[Descent, np.ndarray]:
        """Run all steps towards one class for each image.

        Args:
            classifier: what is attacked.
            state: to go on from.
            x: (batch, ...) float32 images.
            y: (batch,) int32 labels.
            target: (batch,) int32 classes to aim at; unused if untargeted.
            active: bool (batch,), the rows to work on.

        Returns:
            The state, and the steps that each row took, int (batch,).
        """

        def unfinished(state: Descent) -> np.ndarray:
            if not self.early_stop:
                return active
            distance = ops.convert_to_numpy(state.distance)
            return active & ~((distance <= self.epsilon) & np.isfinite(distance))

        return shrinking_loop(
            classifier,
            ("fab", self.targeted, self.norm, self.alpha_max, self.eta, self.beta),
            functools.partial(self._step, classifier),
            state,
            self.steps,
            (x, y, target),
            unfinished=unfinished,
            every=CHECK_EVERY if self.early_stop else max(1, self.steps),
        )

    def _aims(self, logits: np.ndarray) -> list[Tensor]:
        if not self.targeted:
            return [ops.zeros(len(logits), "int32")]
        # The label is the first: images which are classified wrongly take no part.
        ranked = np.argsort(-logits, axis=1, kind="stable")[:, 1 : 1 + self.targets]
        return [ops.convert_to_tensor(labels, "int32") for labels in ranked.T]

    def _start(self, x: Tensor, noise: Noise, rank: int, restart: int) -> Tensor:
        if restart == 0:
            return x
        draw = noise.uniform if self.norm == "linf" else noise.normal
        offset = draw(tuple(x.shape[1:]), "fab", self.norm, rank, restart)
        if self.norm == "linf":
            offset = 2 * offset - 1
        offset = ops.convert_to_tensor(offset)
        unit = offset / ops.reshape(length(_flat(offset), self.norm), column(x))
        return ops.clip(x + self.epsilon / 2 * unit, 0.0, 1.0)

    def _step(
        self,
        classifier: Classifier,
        state: Descent,
        x: Tensor,
        y: Labels,
        target: Labels,
    ) -> Descent:
        plane = _hyperplane if self.targeted else self._nearest_hyperplane
        lead, normal = plane(classifier, state.u, y, target)
        image, u, w = _flat(x), _flat(state.u), _flat(normal)
        image_gap = lead + ops.sum(w * (image - u), axis=1)
        moves = box_projection(
            ops.concatenate([u, image]),
            ops.concatenate([w, w]),
            ops.concatenate([lead, image_gap]),
            norm=self.norm,
        )
        u_move, x_move = ops.split(moves, 2)
        lengths = ops.maximum(length(moves, self.norm), SHORTEST)
        u_length, x_length = ops.split(lengths[:, None], 2)
        share = ops.minimum(u_length / (u_length + x_length), self.alpha_max)
        u = (1 - share) * (u + self.eta * u_move)
        u = ops.clip(u + share * (image + self.eta * x_move), 0.0, 1.0)
        return self._judge(classifier, state, ops.reshape(u, x.shape), x, y)

    def _judge(
        self, classifier: Classifier, state: Descent, u: Tensor, x: Tensor, y: Labels
    ) -> Descent:
        predicted = ops.cast(ops.argmax(classifier.logits(u), axis=1), y.dtype)
        wrong = predicted != y
        distance = length(_flat(u - x), self.norm)
        nearer = wrong & (distance < state.distance)
        return Descent(
            ops.where(ops.reshape(wrong, column(x)), x + self.beta * (u - x), u),
            ops.where(ops.reshape(nearer, column(x)), u, state.nearest),
            ops.where(nearer, distance, state.distance),
        )

    def _nearest_hyperplane(
        self, classifier: Classifier, u: Tensor, y: Labels, target: Labels
    ) -> tuple[Tensor, Tensor]:
        """Return `_hyperplane` of the class whose hyperplane is nearest to `u`."""
        del target

        def nearer(label: Tensor, best: tuple) -> tuple:
            lead, normal = _hyperplane(classifier, u, y, ops.zeros_like(y) + label)
            slope = dual_length(_flat(normal), self.norm)
            distance = ops.abs(lead) / (slope + 1e-12)
            better = (y != label) & (distance < best[0])
            rows = ops.reshape(better, column(u))
            return (
                ops.where(better, distance, best[0]),
                ops.where(better, lead, best[1]),
                ops.where(rows, normal, best[2]),
            )

        zero = ops.zeros(y.shape, "float32")
        start = (zero + np.inf, zero, ops.zeros_like(u))
        return ops.fori_loop(0, classifier.num_classes, nearer, start)[1:]


def fab_t(*, epsilon: AnyRadius = 8 / 255) -> FAB:
    """FAB as in AutoAttack's standard version: 100 steps towards each of 9 classes."""
    return FAB(epsilon, steps=100, targeted=True, targets=9)


def _hyperplane(
    classifier: Classifier, u: Tensor, y: Labels, target: Labels
) -> tuple[Tensor, Tensor]:
    """Return the lead of the target's logit over the label's, and its gradient."""

    def lead(images: Tensor) -> tuple[Tensor, tuple]:
        logits = classifier.logits(images)
        return _entry(logits, target) - _entry(logits, y), ()

    value, _, gradient = backend.value_and_gradient(lead, u)
    return value, gradient


def _entry(logits: Tensor, labels: Labels) -> Tensor:
    return ops.take_along_axis(logits, labels[:, None], axis=1)[:, 0]


def _flat(images: Tensor) -> Tensor:
    return ops.reshape(images, (images.shape[0], -1))
