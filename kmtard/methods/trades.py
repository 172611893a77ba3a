"""TRADES (Zhang et al., ICML 2019): cross-entropy and a KL between both outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from kmtard import losses
from kmtard.attacks import PGD
from kmtard.backend.types import Network, Tensor
from kmtard.methods.base import AdversarialModel
from kmtard.methods.batch import Batch, Logits
from kmtard.registry.ranges import Weight, checked


@keras.saving.register_keras_serializable(package="kmtard")
class TRADES(AdversarialModel):
    """TRADES with the loss `CE(f(x), y) + beta KL(softmax f(x) || softmax f(x_adv))`.

    The loss is a mean over the batch. The attack maximizes the KL in inference mode,
    with a constant prediction on the clean image. In the loss, both arguments of the KL
    have gradients. As in the authors' code, the clean images pass the student twice, so
    that they update BatchNorm's averages twice.

    Args:
        student: any Keras model from images in [0, 1] to logits.
        beta: weight of the KL, >= 0; 6 in the paper.
        trades_original: whether to attack with `PGD(0.031, step_size=0.007, steps=10)`,
            as the authors' code does, instead of with `attack`.
        **kwargs: arguments of `AdversarialModel`.

    Raises:
        ValueError: an argument is out of its range.
    """

    passes = ("nat", "adv", "nat")

    @checked
    def __init__(
        self,
        student: Network,
        *,
        beta: Weight = 6.0,
        trades_original: bool = False,
        **kwargs: Any,
    ) -> None:
        if trades_original:
            kwargs["attack"] = PGD(0.031, step_size=0.007, steps=10)
        super().__init__(student, **kwargs)
        self.beta = beta
        self.trades_original = trades_original

    def inner_loss(self, batch: Batch) -> Callable[[Tensor], Tensor]:
        """Return the KL from the current prediction on the clean images."""
        reference = ops.stop_gradient(self.student(batch.x_nat, training=False))
        return lambda logits: losses.kl_divergence(reference, logits)

    def outer_loss(self, batch: Batch, logits: Logits) -> Tensor:
        """Return the cross-entropy plus beta times the KL."""
        natural = losses.cross_entropy(batch.y, logits.nat[0])
        robust = losses.kl_divergence(logits.nat[-1], logits.adv[0])
        return natural + self.beta * robust

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of an equal model."""
        return {
            **super().get_config(),
            "beta": self.beta,
            "trades_original": self.trades_original,
        }
