"""Black-box attacks that estimate the gradient from logits by finite differences."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kmtard import losses
from kmtard.attacks import counter
from kmtard.attacks.arguments import one_of
from kmtard.attacks.base import Attack, AttackBatch, Found, select
from kmtard.attacks.classifier import Classifier
from kmtard.attacks.norms import column, projection
from kmtard.backend.types import Labels, Tensor
from kmtard.registry.ranges import Positive, Radius, Steps, checked

ROWS = 512
"""Largest number of images per forward pass, if a batch has at most half as many."""

LOSSES = {
    "margin": lambda labels, logits: -losses.margin(labels, logits),
    "ce": losses.cross_entropy,
}
"""The losses that the attack can maximize, functions of labels and logits."""

BETA_1, BETA_2, ADAM_EPSILON = 0.9, 0.999, 1e-9
"""Adam's parameters in CleverHans's SPSA attack."""

DISTRIBUTIONS = {"gaussian": counter.normal, "rademacher": counter.rademacher}
"""Functions (keys, count, draws) -> directions (batch, draws, count).

All have mean 0 and the identity as covariance.
"""

OPTIMIZERS = ("sign", "adam")


@keras.saving.register_keras_serializable(package="kmtard")
class GradientEstimation(Attack):
    """Black-box ascent in the L_inf ball with an estimated gradient.

    The gradient is `g = mean_k (L(u + sigma d_k) - L(u - sigma d_k)) / (2 sigma) d_k`,
    or without antithetic pairs `g = mean_k (L(u + sigma d_k) - L(u)) / sigma d_k`, with
    random directions d_k. A step is
    `u <- clip(clip(u + step, x - epsilon, x + epsilon), 0, 1)`. The queried images
    `u + sigma d_k` may be outside [0, 1]. The attack starts at x. An image is finished
    once its prediction is wrong.

    With the defaults for `distribution` and `optimizer`, this is the attack of Tramer
    et al. (2020) on k-winners-take-all. Their settings are `samples=[100] * 20 +
    [1000] * 20 + [20000] * 60, steps=100, step_size=0.01`, which is 1.2 million queries
    per image. With `distribution="rademacher", optimizer="adam", sigma=0.01,
    step_size=0.01`, it is SPSA (Uesato et al. 2018).

    Args:
        epsilon: radius in pixel intensity, >= 0.
        loss: "margin" (the largest other logit minus the label's) or "ce".
        sigma: length of the differences in pixel intensity, > 0.
        samples: number of queries per estimate, >= 1, and even if `antithetic`; one
            number for all steps, or one per step.
        steps: number of steps, >= 0.
        step_size: size of a step in pixel intensity, >= 0.
        antithetic: whether each direction is used with both signs.
        distribution: distribution of the directions, a name in `DISTRIBUTIONS`.
        optimizer: "sign" for steps `step_size sign(g)`, or "adam" for Adam with the
            learning rate `step_size`.

    Raises:
        ValueError: an argument is out of its range or unknown.

    Example:
        >>> attack = kmtard.attacks.GradientEstimation(8 / 255, samples=50, steps=10)
        >>> x_adv = attack(model, x, y)
    """

    @checked
    def __init__(
        self,
        epsilon: Radius = 8 / 255,
        *,
        loss: str = "margin",
        sigma: Positive = 8 / 255,
        samples: int | Sequence[int] = 100,
        steps: Steps = 20,
        step_size: Radius = 1 / 255,
        antithetic: bool = True,
        distribution: str = "gaussian",
        optimizer: str = "sign",
    ) -> None:
        self.epsilon = epsilon
        self.loss = one_of("loss", loss, LOSSES)
        self.sigma = sigma
        self.samples = samples if isinstance(samples, int) else list(samples)
        self.steps = int(steps)
        self.step_size = step_size
        self.antithetic = antithetic
        self.distribution = one_of("distribution", distribution, DISTRIBUTIONS)
        self.optimizer = one_of("optimizer", optimizer, OPTIMIZERS)
        self._directions = self._checked_directions()

    def _checked_directions(self) -> list[int]:
        """Return the number of directions of each step."""
        samples = self.samples
        each = [samples] * self.steps if isinstance(samples, int) else samples
        signs = 1 + self.antithetic
        if len(each) != self.steps or any(n < signs or n % signs for n in each):
            raise ValueError(
                f"`samples` must be {'an even' if self.antithetic else 'a whole'} "
                f"number >= {signs}, or a list of such numbers, one for each of the "
                f"{self.steps} steps. Received: {samples!r}."
            )
        return [n // signs for n in each]

    def attack_batch(self, classifier: Classifier, batch: AttackBatch) -> Found:
        """Return the last iterate of each image; see `Attack.attack_batch`.

        `queries` counts the images of the estimates and all iterates including x. It
        does not count the first prediction, which finds the images that the model
        misclassifies clean. Those are not attacked.
        """
        x, y, check = batch.x, batch.y, batch.active.astype(int)
        active = batch.where_unfooled(classifier.predict(x))
        keys = batch.noise.integers(2**31 - 1, (2,), "gradient-estimation")
        sizes = (
            batch.radii(self.epsilon),
            batch.step_sizes(self.step_size, self.epsilon),
        )
        constants = (x, y, ops.convert_to_tensor(keys), *sizes)
        # The gradient is still 0, so that this only computes the loss at x.
        state = self._moved(classifier, _initial(x, y, active), constants, 0, 1)
        for step, directions in enumerate(self._directions, start=1):
            active = ops.convert_to_numpy(state["active"])
            if not active.any():
                break
            rows = select(active)
            part, fixed = keras.tree.map_structure(rows.take, (state, constants))
            part = self._advanced(classifier, part, fixed, directions, step)
            state = keras.tree.map_structure(rows.scatter, state, part)
        queries = ops.convert_to_numpy(state["queries"]).astype(int)
        return Found(state["u"], queries, queries + check, np.zeros_like(queries))

    def _advanced(
        self,
        classifier: Classifier,
        state: dict[str, Any],
        constants: tuple,
        directions: int,
        step: int,
    ) -> dict[str, Any]:
        """Return the state after one step: an estimate of the gradient and a move."""
        state = classifier.loop(
            self._key("estimate"),
            functools.partial(self._estimate, classifier),
            state,
            -(-directions // self._at_once(len(state["active"]))),
            (*constants, state["drawn"] + directions),
        )
        return self._moved(classifier, state, constants, directions, step)

    def _moved(
        self,
        classifier: Classifier,
        state: dict[str, Any],
        constants: tuple,
        *numbers: int,
    ) -> dict[str, Any]:
        move = classifier.compiled(
            self._key("move"), functools.partial(self._move, classifier)
        )
        return move(state, *constants, ops.convert_to_tensor(numbers, "int32"))

    def _at_once(self, batch: int) -> int:
        """Return the number of directions per image in one forward pass."""
        most = max(self._directions)
        room = max(1, ROWS // (batch * (1 + self.antithetic)))
        return -(-most // -(-most // room))

    def _estimate(
        self,
        classifier: Classifier,
        state: dict[str, Any],
        x: Tensor,
        y: Labels,
        keys: Tensor,
        epsilon: Tensor,
        step_size: Tensor,
        stop: Tensor,
    ) -> dict[str, Any]:
        """Add the next directions to the gradient, up to the number `stop`."""
        del epsilon, step_size
        count = self._at_once(x.shape[0])
        number = state["drawn"][:, None] + ops.arange(count, dtype="int32")
        draw = DISTRIBUTIONS[self.distribution]
        direction = draw(keys, math.prod(x.shape[1:]), number)
        offset = self.sigma * ops.reshape(direction, (-1, count, *x.shape[1:]))

        def values(offset: Tensor) -> Tensor:
            images = ops.reshape(state["u"][:, None] + offset, (-1, *x.shape[1:]))
            labels = ops.repeat(y, count)
            value = LOSSES[self.loss](labels, classifier.logits(images))
            return ops.reshape(value, (-1, count))

        if self.antithetic:
            slope = (values(offset) - values(-offset)) / (2 * self.sigma)
        else:
            slope = (values(offset) - state["value"][:, None]) / self.sigma
        slope = ops.where(number < stop[:, None], slope, 0.0)
        gradient = ops.reshape(ops.einsum("bk,bkp->bp", slope, direction), x.shape)
        return {
            **state,
            "gradient": state["gradient"] + gradient,
            "drawn": ops.minimum(state["drawn"] + count, stop),
        }

    def _move(
        self,
        classifier: Classifier,
        state: dict[str, Any],
        x: Tensor,
        y: Labels,
        keys: Tensor,
        epsilon: Tensor,
        step_size: Tensor,
        numbers: Tensor,
    ) -> dict[str, Any]:
        """Move the active images along the gradient, and query the model there."""
        del keys
        directions, step = numbers[0], numbers[1]
        gradient = state["gradient"] / ops.cast(ops.maximum(directions, 1), "float32")
        moments = state["moments"]
        change = ops.sign(gradient)
        if self.optimizer == "adam":
            change, moments = _adam(gradient, moments, ops.cast(step, "float32"))
        u = projection(x, epsilon, "linf")(state["u"] + step_size * change)
        active = state["active"]
        u = ops.where(ops.reshape(active, column(x)), u, state["u"])
        logits = classifier.logits(u)
        asked = 1 + directions * (1 + self.antithetic)
        return {
            "u": u,
            "value": LOSSES[self.loss](y, logits),
            "gradient": ops.zeros_like(u),
            "moments": moments,
            "active": active & (ops.argmax(logits, axis=-1) == y),
            "drawn": state["drawn"],
            "queries": state["queries"] + ops.where(active, asked, 0),
        }

    def _key(self, function: str) -> tuple:
        # Radius and step size are arguments of the compiled functions.
        settings = {**self.get_config(), "epsilon": None, "step_size": None}
        settings["samples"] = max(self._directions, default=0)
        return ("gradient-estimation", function, *settings.values())


def _initial(x: Tensor, y: Labels, active: np.ndarray) -> dict[str, Any]:
    nothing, none = ops.zeros_like(x), ops.zeros_like(y)
    return {
        "u": x,
        "value": ops.cast(none, "float32"),
        "gradient": nothing,
        "moments": (nothing, nothing),
        "active": ops.convert_to_tensor(active),
        "drawn": none,
        "queries": none,
    }


def _adam(gradient: Tensor, moments: tuple, step: Tensor) -> tuple[Tensor, tuple]:
    """Return Adam's direction and moments after this step, counted from 1."""
    first = BETA_1 * moments[0] + (1 - BETA_1) * gradient
    second = BETA_2 * moments[1] + (1 - BETA_2) * gradient**2
    scale = ops.sqrt(second / (1 - BETA_2**step)) + ADAM_EPSILON
    return first / (1 - BETA_1**step) / scale, (first, second)


def ge(*, epsilon: Radius = 8 / 255) -> GradientEstimation:
    """Gradient estimation with 20 steps of epsilon/8 and 100 samples per step.

    The B-MTARD paper does not state the budget or the step size of its attack.
    """
    return GradientEstimation(epsilon, step_size=epsilon / 8)
