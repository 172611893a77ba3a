"""Auto-PGD (Croce and Hein 2020, github.com/fra31/auto-attack): an adaptive step size.

The attack takes momentum steps. At fixed checkpoints, if the loss no longer increases,
it halves the step size and continues from the best point so far. In the L1 ball, the
steps are sparse (Croce and Hein 2021, see `ascent_l1`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from kmtard import backend, losses
from kmtard.attacks import ascent, ascent_l1
from kmtard.attacks.arguments import one_of, one_of_or_function
from kmtard.attacks.ascent import Ascent, Evaluate, windows
from kmtard.attacks.ascent_l1 import SparseAscent
from kmtard.attacks.base import Attack, AttackBatch, Found, select
from kmtard.attacks.classifier import Classifier
from kmtard.attacks.noise import Noise
from kmtard.attacks.norms import NORMS, column, l2_norm
from kmtard.attacks.shrinking import CHECK_EVERY, shrinking_loop
from kmtard.backend.types import Labels, Logits, Tensor
from kmtard.registry.ranges import Radius, Repeats, Share, SomeSteps, Targets, checked

LOSSES = ("ce", "dlr")
STARTS = ("random", "clean")
State = Ascent | SparseAscent


@keras.saving.register_keras_serializable(package="kmtard")
class APGD(Attack):
    """Auto-PGD in the L_inf, L2 or L1 ball.

    With P the projection onto the ball and the box [0, 1], a step is
    `w = P(u + step_size sign(gradient))`,
    `u <- P(u + 0.75 (w - u) + 0.25 (u - previous u))`. The first step has no momentum:
    `u <- w`. In L2, the gradient divided by its norm replaces the sign. The step size
    is initially `2 epsilon`. At a checkpoint it is halved, and the search returns to
    the best point, under one of two conditions: the loss increased in at most a share
    `rho` of the steps since the last checkpoint, or the best loss has not increased
    since then and the step size was not halved then.

    In L1, P is the projection onto the intersection of ball and box, and a step is
    `u <- P(u + step_size s / |s|_1)`. `s` is the sign of the gradient where its entries
    are the k largest ones in size, and 0 elsewhere. The step size is initially
    `epsilon`, and k is a fifth of all pixel values. After every 4% of the steps, k
    becomes two thirds of the number of pixel values in which the best point differs
    from x. If this number is below 95% of the one before, the step size is `epsilon`
    again, and the search returns to the best point. Otherwise the step size is divided
    by 1.5, down to `epsilon / 10`.

    The last misclassified iterate is returned, even if its loss is not the largest. If
    no iterate is misclassified, the clean image is returned. Images that the model
    misclassifies without an attack are not attacked.

    Args:
        epsilon: radius in pixel intensity, >= 0.
        steps: number of steps, >= 1; each needs one gradient, and the start needs
            another one.
        restarts: number of runs, >= 1, each from a new random start and on the images
            that are not fooled yet.
        loss: "ce" (cross-entropy), "dlr" (difference of logits ratio), or a function of
            labels (batch,) and logits (batch, classes) that returns (batch,) values.
        targets: with "dlr", the number of classes to aim at one after the other, in the
            order of the clean logits without the label; 9 in AutoAttack. If there are
            fewer other classes, all of them. 0 for an untargeted attack.
        norm: "linf", "l2" or "l1".
        rho: share of steps in [0, 1] that must increase the loss; ignored in L1.
        eot: number of gradients to average at each point, >= 1; above 1 for randomized
            models.
        start: "random" (on the sphere, then clipped to [0, 1]; in L1, standard normal
            noise, projected) or "clean".
        early_stop: whether an image is finished at the checkpoint after its first wrong
            prediction. This does not change which images are fooled. Ignored if `eot`
            is above 1.
        larger_radii: with "l1", whether the first 60% of the steps search in balls of
            three and of two times epsilon, as in AutoAttack. Each ball's best point,
            projected, is the start in the next one.

    Raises:
        ValueError: an argument is out of its range or unknown.

    Example:
        >>> attack = kmtard.attacks.APGD(8 / 255, loss="dlr", targets=9)
        >>> robust_accuracy = 1 - attack.run(model, x, y).success.mean()
    """

    can_target = True

    @checked
    def __init__(
        self,
        epsilon: Radius = 8 / 255,
        *,
        steps: SomeSteps = 100,
        restarts: Repeats = 1,
        loss: str | Callable[[Labels, Logits], Tensor] = "ce",
        targets: Targets = 0,
        norm: str = "linf",
        rho: Share = 0.75,
        eot: Repeats = 1,
        start: str = "random",
        early_stop: bool = True,
        larger_radii: bool = False,
    ) -> None:
        self.epsilon = epsilon
        self.steps = int(steps)
        self.restarts = int(restarts)
        self.loss = one_of_or_function("loss", loss, LOSSES)
        self.targets = int(targets)
        if targets and loss != "dlr":
            raise ValueError(
                "`targets` must be 0 unless `loss` is 'dlr'. Received: "
                f"targets={targets!r}, loss={loss!r}."
            )
        self.norm = one_of("norm", norm, (*NORMS, "l1"))
        self.rho = rho
        self.eot = int(eot)
        self.start = one_of("start", start, STARTS)
        self.early_stop = early_stop
        self.larger_radii = larger_radii
        if larger_radii and norm != "l1":
            raise ValueError(
                "`larger_radii` must be False unless `norm` is 'l1'. Received: "
                f"larger_radii={larger_radii!r}, norm={norm!r}."
            )

    def attack_batch(self, classifier: Classifier, batch: AttackBatch) -> Found:
        """Return the last misclassified iterates, or `x`; see `Attack.attack_batch`.

        Raises:
            ValueError: the attack is targeted and has `targets` of its own.
        """
        if batch.targeted and self.targets:
            raise ValueError(
                "A targeted attack aims at the given classes, so `targets` must be 0. "
                f"Received: targets={self.targets!r}."
            )
        logits = classifier.scores(batch.x)
        robust = batch.where_unfooled(logits.argmax(axis=1))
        x_adv, evaluations = batch.x, np.zeros(len(robust), int)
        for restart in range(self.restarts):
            for rank, target in enumerate(self._aims(logits)):
                rows = select(robust)
                if not rows.active.any():
                    break
                part = batch.take(rows)
                offset = self._offset(part.x, part.noise, restart, rank)
                aim = rows.take(target)
                state, taken = self._ascend(classifier, part, offset, aim)
                fooled = ops.reshape(state.fooled, column(part.x))
                found = ops.where(fooled, state.adversarial, part.x)
                x_adv = rows.scatter(x_adv, found)
                evaluations = rows.scatter(evaluations, evaluations[rows.rows] + taken)
                robust = robust & ~rows.scatter(
                    np.zeros_like(robust), ops.convert_to_numpy(state.fooled)
                )
        backwards = self.eot * evaluations
        forwards = batch.active + backwards
        return Found(x_adv, forwards, forwards, backwards)

    def ascend(
        self,
        classifier: Classifier,
        offset: Tensor,
        x: Tensor,
        y: Labels,
        target: Labels,
        active: np.ndarray,
    ) -> tuple[State, np.ndarray]:
        """Run the attack once, without restarts.

        Args:
            classifier: the attacked model.
            offset: (batch, ...) start minus `x`, in units of epsilon; in L1, in pixel
                intensity and before the projection.
            x: (batch, ...) float32 images.
            y: (batch,) int32 labels.
            target: (batch,) int32 classes to aim at; ignored if untargeted.
            active: bool (batch,), the rows to attack.

        Returns:
            The final state, and the number of evaluated points of each row, int
            (batch,).
        """
        batch = AttackBatch(x, y, Noise(0, np.arange(len(active))), active)
        return self._ascend(classifier, batch, offset, target)

    def _ascend(
        self,
        classifier: Classifier,
        batch: AttackBatch,
        offset: Tensor,
        target: Labels,
    ) -> tuple[State, np.ndarray]:
        if self.norm == "l1":
            return self._ascend_l1(classifier, batch, offset, target)
        x, y, active = batch.x, batch.y, batch.active
        begin, step, check = self._compilable(classifier, batch.targeted)
        # The Python values that are compiled into the functions. The radius is not one
        # of them, so that attacks of several radii are compiled once.
        settings = (self.loss, self.targets > 0, self.norm, self.rho, self.eot)
        key = ("apgd", *settings, batch.targeted)
        epsilon = batch.radii(self.epsilon)

        def unfinished(state: State) -> np.ndarray:
            return self._unfinished(state, active)

        start = classifier.compiled((*key, "begin"), begin)
        state = start(offset, x, y, target, epsilon)
        evaluations, lengths = active.astype(int), windows(self.steps)
        for length in (*lengths, self.steps - sum(lengths)):
            state, taken = shrinking_loop(
                classifier,
                (*key, "step"),
                step,
                state,
                length,
                (x, y, target, epsilon),
                unfinished=unfinished,
                every=max(1, length),
            )
            state = classifier.compiled((*key, "check"), check)(
                state, ops.convert_to_tensor(length, "float32")
            )
            evaluations += taken
        return state, evaluations

    def _ascend_l1(
        self,
        classifier: Classifier,
        batch: AttackBatch,
        offset: Tensor,
        target: Labels,
    ) -> tuple[SparseAscent, np.ndarray]:
        x, y, active = batch.x, batch.y, batch.active
        settings = (self.loss, self.targets > 0, self.eot, self.larger_radii)
        key = ("apgd_l1", *settings, batch.targeted)
        begin, step = self._compilable_l1(classifier, batch.targeted)
        stages = ascent_l1.stages(self.steps)
        if not self.larger_radii:
            stages = [(1.0, self.steps)]
        start, evaluations = x + offset, np.zeros(len(active), int)
        for number, (factor, steps) in enumerate(stages, start=1):
            epsilon = factor * batch.radii(self.epsilon)
            every = ascent_l1.window(steps)
            state = classifier.compiled((*key, "begin"), begin)(
                start, x, y, target, epsilon
            )
            state, taken = shrinking_loop(
                classifier,
                (*key, every),
                functools.partial(step, every),
                state,
                steps,
                (x, y, target, epsilon),
                unfinished=functools.partial(
                    # A success in a larger ball does not count.
                    self._unfinished if number == len(stages) else _every_row,
                    active=active,
                ),
                every=CHECK_EVERY,
            )
            start = state.best
            evaluations += active + taken
        return state, evaluations

    def _unfinished(self, state: State, active: np.ndarray) -> np.ndarray:
        # One wrong prediction of a randomized model may be chance.
        if not self.early_stop or self.eot > 1:
            return active
        return active & ~ops.convert_to_numpy(state.fooled)

    def get_config(self) -> dict:
        """Return the arguments of an equal attack."""
        loss = keras.saving.serialize_keras_object(self.loss)
        config = {**self._settings(), "loss": loss}
        # Evaluations of versions without this argument can be continued.
        if not self.larger_radii:
            del config["larger_radii"]
        return config

    @classmethod
    def from_config(cls, config: dict) -> APGD:
        """Return the attack whose `get_config` returned `config`."""
        loss = keras.saving.deserialize_keras_object(config.get("loss", "ce"))
        return cls(**{**config, "loss": loss})

    def _compilable(
        self, classifier: Classifier, targeted: bool
    ) -> tuple[Callable[..., Ascent], ...]:
        """Return the update rules as functions of tensors only."""

        def begin(
            offset: Tensor, x: Tensor, y: Labels, target: Labels, epsilon: Tensor
        ) -> Ascent:
            start = ops.clip(x + epsilon * offset, 0.0, 1.0)
            evaluate = self._evaluation(classifier, y, target, targeted)
            return ascent.begin(evaluate, start, epsilon)

        def step(
            state: Ascent, x: Tensor, y: Labels, target: Labels, epsilon: Tensor
        ) -> Ascent:
            evaluate = self._evaluation(classifier, y, target, targeted)
            return ascent.step(evaluate, state, x, epsilon, self.norm)

        def check(state: Ascent, length: Tensor) -> Ascent:
            return ascent.check(state, length, self.rho)

        return begin, step, check

    def _compilable_l1(
        self, classifier: Classifier, targeted: bool
    ) -> tuple[Callable[..., SparseAscent], ...]:
        """Return the update rules in L1 as functions of tensors, `step` after a number.

        The number is that of the steps between checkpoints.
        """

        def begin(
            start: Tensor, x: Tensor, y: Labels, target: Labels, epsilon: Tensor
        ) -> SparseAscent:
            start = ops.clip(x + ascent_l1.project(start - x, x, epsilon), 0.0, 1.0)
            evaluate = self._evaluation(classifier, y, target, targeted)
            return ascent_l1.begin(
                evaluate, start, x, epsilon, sparse=self.larger_radii
            )

        def step(
            every: int,
            state: SparseAscent,
            x: Tensor,
            y: Labels,
            target: Labels,
            epsilon: Tensor,
        ) -> SparseAscent:
            evaluate = self._evaluation(classifier, y, target, targeted)
            return ascent_l1.step(evaluate, state, x, epsilon, every)

        return begin, step

    def _aims(self, logits: np.ndarray) -> list[np.ndarray]:
        if not self.targets:
            return [np.zeros(len(logits), "int32")]
        # The label ranks first, because misclassified images are not attacked.
        ranked = np.argsort(-logits, axis=1, kind="stable")[:, 1 : 1 + self.targets]
        return list(ranked.T.astype("int32"))

    def _offset(self, x: Tensor, noise: Noise, restart: int, rank: int) -> Tensor:
        """Return the start minus `x`: 0, on the unit sphere or, in L1, any noise."""
        if self.start == "clean":
            return ops.zeros_like(x)
        loss = "own" if callable(self.loss) else self.loss
        key = ("apgd", loss, self.targets > 0, restart, rank)
        if self.norm != "linf":
            offset = ops.convert_to_tensor(noise.normal(tuple(x.shape[1:]), *key))
        if self.norm == "l1":
            return offset
        if self.norm == "l2":
            return offset / (l2_norm(offset) + 1e-12)
        offset = 2 * noise.uniform(tuple(x.shape[1:]), *key) - 1
        largest = np.abs(offset).reshape(len(offset), -1).max(axis=1)
        return ops.convert_to_tensor(offset / (largest.reshape(column(x)) + 1e-12))

    def _objective(self, y: Labels, logits: Tensor, target: Labels) -> Tensor:
        if callable(self.loss):
            return self.loss(y, logits)
        if self.loss == "ce":
            return losses.cross_entropy(y, logits)
        if logits.shape[-1] == 2:
            return -losses.margin(y, logits)
        if self.targets:
            return losses.dlr_targeted(y, logits, target)
        return losses.dlr(y, logits)

    def _evaluation(
        self, classifier: Classifier, y: Labels, target: Labels, targeted: bool
    ) -> Evaluate:
        def objective(images: Tensor) -> tuple[Tensor, Tensor]:
            logits = classifier.logits(images)
            values = self._objective(y, logits, target)
            return -values if targeted else values, logits

        def evaluate(u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            gradients = ops.zeros_like(u)
            for _ in range(self.eot):
                loss, logits, gradient = backend.value_and_gradient(objective, u)
                gradients = gradients + gradient
            reached = ops.cast(ops.argmax(logits, axis=-1), y.dtype) == y
            return loss, gradients / self.eot, reached if targeted else ~reached

        return evaluate


def _every_row(state: State, active: np.ndarray) -> np.ndarray:
    """Return the rows of an attack in which no image is finished early."""
    del state
    return active


def apgd_ce(
    *, epsilon: Radius = 8 / 255, norm: Literal["linf", "l2", "l1"] = "linf"
) -> APGD:
    """APGD on the cross-entropy, as in AutoAttack's standard version."""
    return APGD(epsilon, **_standard(norm))


def apgd_dlr(
    *, epsilon: Radius = 8 / 255, norm: Literal["linf", "l2", "l1"] = "linf"
) -> APGD:
    """APGD on the difference of logits ratio."""
    return APGD(epsilon, loss="dlr", **_standard(norm))


def apgd_t(
    *, epsilon: Radius = 8 / 255, norm: Literal["linf", "l2", "l1"] = "linf"
) -> APGD:
    """APGD towards 9 classes, or 5 in L1, as in AutoAttack's standard version."""
    settings = {**_standard(norm), "restarts": 1}
    return APGD(epsilon, loss="dlr", targets=5 if norm == "l1" else 9, **settings)


def _standard(norm: str) -> dict[str, Any]:
    """Return the settings of untargeted APGD in AutoAttack's standard version."""
    if norm == "l1":
        return {"norm": norm, "restarts": 5, "larger_radii": True}
    return {"norm": norm}
