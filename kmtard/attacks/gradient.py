"""Gradient attacks: PGD and its settings FGSM, PGD_sat, PGD_trades and CW_inf."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from kmtard import backend, losses
from kmtard.attacks.arguments import one_of, one_of_or_function
from kmtard.attacks.base import Attack, AttackBatch, Found, select
from kmtard.attacks.classifier import Classifier
from kmtard.attacks.norms import NORMS, column, projection, steepest
from kmtard.backend.types import Labels, Logits, Tensor
from kmtard.registry.ranges import Radius, Repeats, Steps, checked

GAUSSIAN_STD = 0.001
"""Standard deviation of the start noise in TRADES and MTARD, in pixel intensity."""

UNROLLED = 40
"""Steps that are written out at most, unless `unroll` says so: each is compiled."""

STARTS = ("clean", "gaussian", "gaussian_clipped", "uniform", "uniform_clipped")
"""Points at which the first gradient is computed.

Only "clean" and the `_clipped` starts are always in [0, 1].
"""

LOSSES: dict[str, Callable[..., Tensor]] = {
    "ce": losses.cross_entropy,
    "cw": losses.cw,
    "dlr": losses.dlr,
    "margin": lambda y, logits: -losses.margin(y, logits),
}
"""The losses that an attack can maximize, functions of labels and logits."""


@keras.saving.register_keras_serializable(package="kmtard")
class PGD(Attack):
    """Projected gradient descent (Madry et al. 2018).

    A step is `u <- clip(P(u + step_size d), 0, 1)`. In the L_inf ball, d =
    sign(gradient), with sign(0) = 0, and P clips to [x - epsilon, x + epsilon]. In the
    L2 ball, d = gradient / |gradient|, and P shortens `u - x` to at most epsilon. The
    last iterate is returned. No gradient flows through it.

    Args:
        epsilon: radius in pixel intensity, >= 0; 8/255 in the papers.
        step_size: length of a step in pixel intensity, >= 0.
        steps: number of steps, >= 0; with 0 the start is returned.
        start: a name in `STARTS`, or a function from `x` to the start. TRADES and
            B-MTARD train with "gaussian"; the papers evaluate with "uniform_clipped".
            With L2, "uniform" is a random direction of length epsilon. None uses the
            start of the method that trains with the attack, or "gaussian" elsewhere.
        unroll: whether to unroll the steps in a training step, instead of a loop. An
            unrolled attack is faster on a CPU and slower to compile. None chooses by
            the device, and loops beyond 40 steps.
        loss: the loss to maximize in an evaluation: "ce", "cw", "dlr" or "margin" (the
            largest other logit minus the label's), or a function of labels (batch,)
            and logits (batch, classes) that returns (batch,) values. In training, the
            method has its own loss. A targeted attack minimizes the loss for the class
            to reach.
        kappa: parameter of the loss "cw", in logit units, >= 0; see
            `kmtard.losses.cw`.
        norm: "linf" or "l2".
        restarts: number of runs in an evaluation, >= 1, each on the images that no
            earlier run has fooled. In training, there is always one run.

    Raises:
        ValueError: an argument is out of its range or unknown.

    Example:
        >>> attack = kmtard.attacks.PGD(8 / 255, step_size=2 / 255, steps=20)
        >>> x_adv = attack(model, x, y)
    """

    can_target = True

    @checked
    def __init__(
        self,
        epsilon: Radius = 8 / 255,
        *,
        step_size: Radius = 2 / 255,
        steps: Steps = 10,
        start: str | Callable[[Tensor], Tensor] | None = None,
        unroll: bool | None = None,
        loss: str | Callable[[Labels, Logits], Tensor] = "ce",
        kappa: Radius = 50.0,
        norm: str = "linf",
        restarts: Repeats = 1,
    ) -> None:
        self.epsilon = epsilon
        self.step_size = step_size
        self.steps = int(steps)
        if not (start is None or callable(start) or start in STARTS):
            raise ValueError(
                f"`start` must be None, a function or one of {sorted(STARTS)}. "
                f"Received: {start!r}."
            )
        self.start = start
        self.unroll = unroll
        self.loss = one_of_or_function("loss", loss, LOSSES)
        self.kappa = kappa
        self.norm = one_of("norm", norm, NORMS)
        self.restarts = int(restarts)

    def perturb(
        self,
        predict: Callable[[Tensor], Logits],
        x: Tensor,
        objective: Callable[[Logits], Tensor],
        *,
        seed: int | keras.random.SeedGenerator | None = None,
        state: Sequence[keras.Variable] = (),
    ) -> Tensor:
        """Return the last iterate of one run; see `Attack.perturb`."""
        project = projection(x, self.epsilon, self.norm)

        def step(u: Tensor) -> Tensor:
            return project(
                self._moved(lambda u: objective(predict(u)), u, self.step_size, state)
            )

        shape, radius = ops.shape(x), self.epsilon
        draw = {"dtype": x.dtype, "seed": seed}
        u = self._start(
            x,
            radius,
            uniform=lambda: keras.random.uniform(shape, -radius, radius, **draw),
            normal=lambda: keras.random.normal(shape, **draw),
        )
        unroll = self.unroll
        if unroll is None:
            unroll = self.steps <= UNROLLED and (backend.on_cpu() or bool(state))
        if unroll:
            for _ in range(self.steps):
                u = step(u)
        else:
            u = backend.repeat(step, u, self.steps, state)
        return ops.stop_gradient(u)

    def starting(self, start: str) -> PGD:
        """Return the attack with this start, unless it has its own start."""
        if self.start is not None:
            return self
        return PGD.from_config({**self.get_config(), "start": start})

    def attack_batch(self, classifier: Classifier, batch: AttackBatch) -> Found:
        """Attack one batch; see `Attack.attack_batch`."""
        x, active = batch.x, batch.active
        u = self._run_once(classifier, batch, 0)
        x_adv = ops.where(active.reshape(column(x)), u, x)
        backwards, checks = self.steps * active, 0 * active
        for restart in range(1, self.restarts):
            checks += active
            active = active & batch.where_unfooled(classifier.predict(x_adv))
            if not active.any():
                break
            part = select(active)
            u = self._run_once(classifier, batch.take(part), restart)
            x_adv = part.scatter(x_adv, u)
            backwards += self.steps * active
        forwards = backwards + checks
        return Found(x_adv, queries=forwards, forwards=forwards, backwards=backwards)

    def _run_once(
        self, classifier: Classifier, batch: AttackBatch, restart: int
    ) -> Tensor:
        x, y, noise = batch.x, batch.y, batch.noise

        def step(
            u: Tensor, x: Tensor, y: Labels, radius: Tensor, step_size: Tensor
        ) -> Tensor:
            objective = losses.amplified(
                lambda logits: self._objective(y, logits, batch.targeted),
                classifier.model,
            )
            return projection(x, radius, self.norm)(
                self._moved(lambda u: objective(classifier.logits(u)), u, step_size)
            )

        shape, key = tuple(x.shape[1:]), ("pgd", restart)
        radius = batch.radii(self.epsilon)
        start = self._start(
            x,
            radius,
            uniform=lambda: (
                ops.convert_to_numpy(radius) * (2 * noise.uniform(shape, *key) - 1)
            ),
            normal=lambda: noise.normal(shape, *key),
        )
        settings = ("pgd", self.loss, self.kappa, self.norm, batch.targeted)
        sizes = radius, batch.step_sizes(self.step_size, self.epsilon)
        return classifier.loop(settings, step, start, self.steps, (x, y, *sizes))

    def _objective(self, y: Labels, logits: Logits, targeted: bool) -> Tensor:
        """Return the values to maximize, (batch,)."""
        if self.loss == "cw" and targeted:
            return -ops.relu(self.kappa - losses.margin(y, logits))
        arguments = {"kappa": self.kappa} if self.loss == "cw" else {}
        loss = self.loss if callable(self.loss) else LOSSES[self.loss]
        values = loss(y, logits, **arguments)
        return -values if targeted else values

    def _moved(
        self,
        objective: Callable[[Tensor], Tensor],
        u: Tensor,
        step_size: float | Tensor,
        state: Sequence[keras.Variable] = (),
    ) -> Tensor:
        """Return `u` after a step that increases `objective`, before the projection."""
        gradient = backend.input_gradient(objective, u, state)
        return u + step_size * steepest(gradient, self.norm)

    def _start(
        self,
        x: Tensor,
        epsilon: float | Tensor,
        uniform: Callable[[], Any],
        normal: Callable[[], Any],
    ) -> Tensor:
        if callable(self.start):
            return ops.cast(self.start(x), x.dtype)
        kind, _, clipped = (self.start or "gaussian").partition("_")
        if kind == "gaussian":
            x = x + GAUSSIAN_STD * ops.convert_to_tensor(normal())
        elif kind == "uniform" and self.norm == "l2":
            x = x + epsilon * steepest(ops.convert_to_tensor(normal()), "l2")
        elif kind == "uniform":
            x = x + ops.convert_to_tensor(uniform())
        return ops.clip(x, 0.0, 1.0) if clipped else x

    def get_config(self) -> dict:
        """Return the arguments of an equal attack."""
        functions = {
            name: keras.saving.serialize_keras_object(getattr(self, name))
            for name in ("start", "loss")
        }
        return {**self._settings(), **functions}

    @classmethod
    def from_config(cls, config: dict) -> PGD:
        """Return the attack whose `get_config` returned `config`."""
        functions = {
            name: keras.saving.deserialize_keras_object(config[name])
            for name in ("start", "loss")
            if name in config
        }
        return cls(**{**config, **functions})


def fgsm(*, epsilon: Radius = 8 / 255, norm: str = "linf") -> PGD:
    """FGSM (Goodfellow et al. 2015): one step of `epsilon` from the clean image."""
    return PGD(epsilon, step_size=epsilon, steps=1, start="clean", norm=norm)


def pgd_sat(
    *,
    epsilon: Radius = 8 / 255,
    step_size: Radius = 2 / 255,
    steps: Steps = 20,
    norm: str = "linf",
) -> PGD:
    """PGD with SAT's evaluation settings: uniform start, 20 steps of 2/255."""
    start = "uniform_clipped"
    return PGD(epsilon, step_size=step_size, steps=steps, start=start, norm=norm)


def pgd_trades(
    *,
    epsilon: Radius = 8 / 255,
    step_size: Radius = 0.003,
    steps: Steps = 20,
    norm: str = "linf",
) -> PGD:
    """PGD with TRADES' evaluation settings: uniform start, 20 steps of 0.003.

    The MTARD papers choose their checkpoints with this attack.
    """
    start = "uniform_clipped"
    return PGD(epsilon, step_size=step_size, steps=steps, start=start, norm=norm)


def cw_inf(
    *,
    epsilon: Radius = 8 / 255,
    step_size: Radius = 2 / 255,
    steps: Steps = 30,
    kappa: Radius = 50.0,
    start: str = "uniform_clipped",
) -> PGD:
    """PGD on the margin loss of Carlini and Wagner (2017): 30 steps of 2/255."""
    return PGD(
        epsilon,
        step_size=step_size,
        steps=steps,
        start=start,
        loss="cw",
        kappa=kappa,
    )
