"""MART (Wang et al., ICLR 2020): TRADES with weights for misclassified images."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kmtard import backend, losses
from kmtard.backend.types import Network, Tensor
from kmtard.methods.base import AdversarialModel
from kmtard.methods.batch import Batch, Logits
from kmtard.registry.ranges import Weight, checked


@keras.saving.register_keras_serializable(package="kmtard")
class MART(AdversarialModel):
    """MART: a boosted cross-entropy and a KL that weighs misclassified images more.

        L   = BCE(f(x_adv), y) + beta (1 - p(x)[y]) KL(p(x) || p(x_adv))
        BCE = CE(f(x_adv), y) - log(1.0001 - max of p(x_adv) over the other classes)

    The loss is a mean over the batch. All terms have gradients, even the weight
    `1 - p(x)[y]`. The attack maximizes the cross-entropy in inference mode. The
    constants 1.0001, and 1e-12 inside the logarithms, are those of the authors' code
    (github.com/YisenWang/MART). That code attacks with `PGD(0.031, step_size=0.007,
    steps=10)`, and trains with a learning rate of 0.01 and a weight decay of 3.5e-3.

    B-MTARD's paper does not compare with this method.

    Args:
        student: any Keras model from images in [0, 1] to logits.
        beta: weight of the KL, >= 0; 5 in the authors' code.
        **kwargs: arguments of `AdversarialModel`.

    Raises:
        ValueError: `beta` is out of its range.
    """

    passes = ("nat", "adv")

    @checked
    def __init__(self, student: Network, *, beta: Weight = 5.0, **kwargs: Any) -> None:
        super().__init__(student, **kwargs)
        self.beta = beta

    def outer_loss(self, batch: Batch, logits: Logits) -> Tensor:
        """Return the boosted cross-entropy plus beta times the weighted KL."""
        nat_logits, adv_logits = map(
            losses.at_least_float32, (logits.nat[-1], logits.adv[-1])
        )
        nat, adv = ops.softmax(nat_logits), ops.softmax(adv_logits)
        highest_other = ops.max(backend.fill(adv, batch.y, 0.0), axis=-1)
        boosted = losses.cross_entropy(batch.y, adv_logits) - ops.log(
            1.0001 - highest_other + 1e-12
        )
        divergence = ops.sum(
            nat * (ops.log_softmax(nat_logits) - ops.log(adv + 1e-12)), axis=-1
        )
        certainty = backend.pick(nat, batch.y)
        return boosted + self.beta * divergence * (1.0000001 - certainty)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of an equal model."""
        return {**super().get_config(), "beta": self.beta}
