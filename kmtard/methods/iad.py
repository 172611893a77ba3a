"""IAD (Zhu et al., ICLR 2022): distillation that trusts its teacher only partly."""

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
    """ARD with true batch means, and from epoch `begin` on the student's own opinion.

        alpha tau^2 KLb(p(T(x); tau), p(f(x_adv); tau)) + (1 - alpha) CE(f(x), y)
        + alpha (1 - A) KL(p(f(x)), p(f(x_adv))),   A = p(T(x_adv))[y]^beta

    KLb is the batch mean; the third term, without which training starts, has
    temperature 1 and gradient through both of its arguments; A is constant. This is
    IAD-I of the authors' code, whose teacher term is not weighted by A. Like that code,
    a step passes the adversarial images twice, and the clean ones twice once the third
    term is there; BatchNorm's averages see each pass.

    Args:
        student: any Keras model from images in [0, 1] to logits.
        adv_teacher: robust teacher, the same; it is frozen (`trainable = False`).
        temperature: tau > 0.
        alpha: in [0, 1].
        beta: exponent of the trust A, >= 0.
        begin: epoch, counted from 0, at which `callbacks.Introspection` switches the
            third term on; without the callback it stays off.
        **kwargs: those of `ARD`.
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
        """Switch the third term on or off, and compile the step anew if it changes."""
        if active == self.introspecting:
            return
        self.introspecting = active
        self.passes = ("adv", "adv", "nat", "nat") if active else ("adv", "adv", "nat")
        if self.compiled:
            self.make_train_function(force=True)
            # The loss of the evaluation has the third term as well.
            self.make_test_function(force=True)

    def outer_loss(self, batch: Batch, logits: Logits) -> Tensor:
        """Return ARD's loss, with the third term once it is on."""
        loss = super().outer_loss(batch, logits)
        if not self.introspecting:
            return loss
        trusted = ops.softmax(self.taught("adv_teacher", batch.x_adv))
        labels = ops.one_hot(batch.y, trusted.shape[-1], dtype=trusted.dtype)
        trust = ops.sum(labels * trusted, axis=-1) ** self.beta
        own = losses.kl_divergence(logits.nat[-1], logits.adv[0])
        return loss + self.alpha * (1 - trust) * own

    def default_callbacks(self) -> list[keras.callbacks.Callback]:
        """Return the callback that switches the third term on."""
        return [*super().default_callbacks(), Introspection(self.begin)]

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal model."""
        return {**super().get_config(), "beta": self.beta, "begin": self.begin}
