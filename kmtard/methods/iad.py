"""IAD (Zhu et al., ICLR 2022): ARD with partial trust in the teacher."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kmtard import losses
from kmtard.backend.types import Network, Tensor
from kmtard.callbacks import Introspection
from kmtard.methods.ard import ARD
from kmtard.methods.batch import Batch, Logits
from kmtard.registry.ranges import Begin, Positive, Share, Weight, checked


@keras.saving.register_keras_serializable(package="kmtard")
class IAD(ARD):
    """Introspective adversarial distillation: the student also learns from itself.

        L = alpha tau^2 KLb(p(T(x); tau), p(f(x_adv); tau)) + (1 - alpha) CE(f(x), y)
            + alpha (1 - A) KL(p(f(x)), p(f(x_adv))),   A = p(T(x_adv))[y]^beta

    KLb is the batch mean. The third term begins at the epoch `begin`. It has
    temperature 1 and gradients through both arguments. The trust A has no gradient.
    This is IAD-I of the authors' code, whose first term is not weighted by A. As in
    that code, the adversarial images pass the student twice per step. The clean images
    pass once, and twice when the third term is on. Each pass updates BatchNorm's
    averages.

    Args:
        student: any Keras model from images in [0, 1] to logits.
        adv_teacher: robust teacher, a Keras model of the same kind; it is frozen
            (`trainable = False`).
        temperature: tau, > 0.
        alpha: weight of the teacher's and the third term, in [0, 1].
        beta: exponent of the trust A, >= 0.
        begin: first epoch with the third term, counted from 0. The callback
            `callbacks.Introspection` enables it; without the callback it stays off.
        ard_batchmean: whether the first term is a batch mean, instead of ARD's mean
            over batch and classes.
        **kwargs: arguments of `ARD`.

    Raises:
        ValueError: an argument is out of its range.
    """

    @checked
    def __init__(
        self,
        student: Network,
        adv_teacher: Network,
        *,
        temperature: Positive = 1.0,
        alpha: Share = 1.0,
        beta: Weight = 0.1,
        begin: Begin = 60,
        ard_batchmean: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            student,
            adv_teacher,
            temperature=temperature,
            alpha=alpha,
            ard_batchmean=ard_batchmean,
            **kwargs,
        )
        self.beta = beta
        self.begin = begin
        self.introspecting = False
        self.passes = ("adv", "adv", "nat")

    def introspect(self, active: bool) -> None:
        """Enable or disable the third term; a change compiles the step again.

        Args:
            active: whether the loss has the third term.
        """
        if active == self.introspecting:
            return
        self.introspecting = active
        self.passes = ("adv", "adv", "nat", "nat") if active else ("adv", "adv", "nat")
        if self.compiled:
            self.make_train_function(force=True)
            # The loss of evaluations has the third term too.
            self.make_test_function(force=True)

    def outer_loss(self, batch: Batch, logits: Logits) -> Tensor:
        """Return ARD's loss, plus the third term if it is enabled."""
        loss = super().outer_loss(batch, logits)
        if not self.introspecting:
            return loss
        trusted = ops.softmax(self.taught("adv_teacher", batch.x_adv))
        labels = ops.one_hot(batch.y, trusted.shape[-1], dtype=trusted.dtype)
        trust = ops.sum(labels * trusted, axis=-1) ** self.beta
        own = losses.kl_divergence(logits.nat[-1], logits.adv[0])
        return loss + self.alpha * (1 - trust) * own

    def default_callbacks(self) -> list[keras.callbacks.Callback]:
        """Return the callback that enables the third term."""
        return [*super().default_callbacks(), Introspection(self.begin)]

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of an equal model."""
        return {**super().get_config(), "beta": self.beta, "begin": self.begin}
