"""FAB: search for the smallest perturbation that changes the prediction."""

from __future__ import annotations

import functools
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from kmtard.attacks import hyperplane
from kmtard.attacks.arguments import one_of
from kmtard.attacks.base import Attack, AttackBatch, Found
from kmtard.attacks.classifier import Classifier
from kmtard.attacks.hyperplane import flat
from kmtard.attacks.noise import Noise
from kmtard.attacks.norms import NORMS, column
from kmtard.attacks.projection import box_projection, length
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
"""Number of steps between two checks of which images are fooled."""

SHORTEST = 1e-8
"""Smallest length of a move in the mixture of two moves: avoids a division by 0."""


class Descent(NamedTuple):
    """State of the search, one entry per image.

    Attributes:
        u: (batch, ...) the current iterate.
        nearest: (batch, ...) the nearest misclassified iterate; x before the first one.
        distance: (batch,) float32, its distance from x; infinity before the first one.
    """

    u: Tensor
    nearest: Tensor
    distance: Tensor


@keras.saving.register_keras_serializable(package="kmtard")
class FAB(Attack):
    """Fast adaptive boundary attack (FAB).

    Croce and Hein 2020, "Minimally distorted adversarial examples with a fast adaptive
    boundary attack", in AutoAttack's version. Each step approximates the boundary
    between the label and another class by a hyperplane. It projects the iterate u and
    the image x onto it within [0, 1], by the moves d_u and d_x, and mixes the results:

    `a = min(|d_u| / (|d_u| + |d_x|), alpha_max)`
    `u <- clip((1 - a) (u + eta d_u) + a (x + eta d_x), 0, 1)`

    After a step, a misclassified u is stored if it is the nearest so far, and the
    search continues from `x + beta (u - x)`. The first run starts at x. Restarts start
    at random points at distance epsilon / 2. Otherwise epsilon does not affect the
    steps.

    The nearest point is returned if it is within epsilon, otherwise x.

    Args:
        epsilon: radius, >= 0, in pixel intensity (L_inf) or Euclidean length (L2); with
            infinity, every misclassified point counts.
        steps: number of steps, >= 0.
        restarts: number of runs per target, >= 1; more than one needs a finite epsilon.
        targeted: if True, aim at the classes one after the other, in the order of the
            clean logits. If False, aim at the class with the nearest hyperplane in each
            step, which needs the gradients of all classes.
        targets: number of classes to aim at, >= 1; if there are fewer other classes,
            all of them.
        norm: "linf" or "l2".
        alpha_max: largest weight of x in the mixture, in [0, 1].
        eta: factor of each move, >= 1; above 1 it overshoots the hyperplane.
        beta: factor of `u - x` after a misclassified iterate, in (0, 1).
        early_stop: whether an image is finished once a point within epsilon is found.
            This does not change which images are fooled. If False, the search for the
            nearest point continues.

    Raises:
        ValueError: an argument is out of its range or unknown.

    Example:
        >>> attack = kmtard.attacks.FAB(float("inf"), norm="l2", early_stop=False)
        >>> moves = (attack(model, x, y) - x).reshape(len(x), -1)
        >>> distances = np.linalg.norm(moves, axis=1)
    """

    can_target = True

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
                "`epsilon` must be finite if `restarts` is above 1, because a restart "
                "begins at distance epsilon / 2 from the image. Received: "
                f"epsilon={epsilon!r}, restarts={restarts!r}."
            )

    def attack_batch(self, classifier: Classifier, batch: AttackBatch) -> Found:
        """Return the nearest points within epsilon; see `Attack.attack_batch`.

        Raises:
            ValueError: the attack aims at given classes, and `targeted` is False.
        """
        if batch.targeted and not self.targeted:
            raise ValueError(
                "A targeted attack needs FAB(targeted=True). Received: targeted=False."
            )
        x, y = batch.x, batch.y
        logits = classifier.scores(x)
        correct = batch.where_unfooled(logits.argmax(axis=1))
        state = Descent(x, x, ops.full(y.shape, np.inf, "float32"))
        steps, aims = np.zeros(len(correct), int), self._aims(logits)
        if batch.targeted:
            # The plane separates the class to reach from the predicted one.
            y, aims = ops.convert_to_tensor(logits.argmax(axis=1), "int32"), [y]
        for rank, target in enumerate(aims):
            for restart in range(self.restarts):
                start = self._start(batch, rank, restart)
                state, taken = self._descend(
                    classifier, state._replace(u=start), batch, y, target, correct
                )
                steps += taken
        gradients = 1 if self.targeted else classifier.num_classes
        forwards = batch.active + 2 * steps
        radius = ops.reshape(batch.radii(self.epsilon), (-1,))
        within = ops.reshape(state.distance <= radius, column(x))
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
        """Run all steps towards one class per image.

        Args:
            classifier: the attacked model.
            state: the state to continue from.
            x: (batch, ...) float32 images.
            y: (batch,) int32 labels.
            target: (batch,) int32 classes to aim at; ignored if untargeted.
            active: bool (batch,), the rows to attack.

        Returns:
            The state, and the number of steps of each row, int (batch,).
        """
        batch = AttackBatch(x, y, Noise(0, np.arange(len(active))), active)
        return self._descend(classifier, state, batch, y, target, active)

    def _descend(
        self,
        classifier: Classifier,
        state: Descent,
        batch: AttackBatch,
        y: Labels,
        target: Labels,
        active: np.ndarray,
    ) -> tuple[Descent, np.ndarray]:
        radius = ops.convert_to_numpy(batch.radii(self.epsilon)).reshape(-1)

        def unfinished(state: Descent) -> np.ndarray:
            if not self.early_stop:
                return active
            distance = ops.convert_to_numpy(state.distance)
            return active & ~((distance <= radius) & np.isfinite(distance))

        settings = (self.targeted, self.norm, self.alpha_max, self.eta, self.beta)
        return shrinking_loop(
            classifier,
            ("fab", *settings, batch.targeted),
            functools.partial(self._step, classifier, batch.targeted),
            state,
            self.steps,
            (batch.x, y, target),
            unfinished=unfinished,
            every=CHECK_EVERY if self.early_stop else max(1, self.steps),
        )

    def _aims(self, logits: np.ndarray) -> list[Tensor]:
        if not self.targeted:
            return [ops.zeros(len(logits), "int32")]
        # The label ranks first, because misclassified images are not attacked.
        ranked = np.argsort(-logits, axis=1, kind="stable")[:, 1 : 1 + self.targets]
        return [ops.convert_to_tensor(labels, "int32") for labels in ranked.T]

    def _start(self, batch: AttackBatch, rank: int, restart: int) -> Tensor:
        x, noise = batch.x, batch.noise
        if restart == 0:
            return x
        draw = noise.uniform if self.norm == "linf" else noise.normal
        offset = draw(tuple(x.shape[1:]), "fab", self.norm, rank, restart)
        if self.norm == "linf":
            offset = 2 * offset - 1
        offset = ops.convert_to_tensor(offset)
        unit = offset / ops.reshape(length(flat(offset), self.norm), column(x))
        return ops.clip(x + batch.radii(self.epsilon) / 2 * unit, 0.0, 1.0)

    def _step(
        self,
        classifier: Classifier,
        targeted: bool,
        state: Descent,
        x: Tensor,
        y: Labels,
        target: Labels,
    ) -> Descent:
        if self.targeted:
            lead, normal = hyperplane.towards(classifier, state.u, y, target)
        else:
            lead, normal = hyperplane.nearest(classifier, state.u, y, self.norm)
        image, u, w = flat(x), flat(state.u), flat(normal)
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
        u = ops.reshape(u, x.shape)
        predicted = ops.cast(ops.argmax(classifier.logits(u), axis=1), y.dtype)
        wrong = predicted == target if targeted else predicted != y
        distance = length(flat(u - x), self.norm)
        nearer = wrong & (distance < state.distance)
        return Descent(
            ops.where(ops.reshape(wrong, column(x)), x + self.beta * (u - x), u),
            ops.where(ops.reshape(nearer, column(x)), u, state.nearest),
            ops.where(nearer, distance, state.distance),
        )


def fab_t(*, epsilon: AnyRadius = 8 / 255, norm: str = "linf") -> FAB:
    """FAB as in AutoAttack: 100 steps towards each of 9 classes."""
    return FAB(epsilon, steps=100, targeted=True, targets=9, norm=norm)
