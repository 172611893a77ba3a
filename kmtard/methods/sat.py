"""SAT (Madry et al., ICLR 2018): standard adversarial training on labels."""

from __future__ import annotations

from typing import Any, Literal

import keras

from kmtard import losses
from kmtard.backend.types import Network, Tensor
from kmtard.methods.base import AdversarialModel
from kmtard.methods.batch import Batch, Logits
from kmtard.registry.ranges import checked


@keras.saving.register_keras_serializable(package="kmtard")
class SAT(AdversarialModel):
    """Standard adversarial training with the loss `CE(f(x_adv), y)`.

    The attack maximizes the same loss, from a uniform start inside [0, 1]. As in the
    authors' code (cifar10_challenge), BatchNorm is in training mode during the attack.
    Two details of that code are different here: it standardizes each image inside its
    network, and it applies weight decay to kernels only. Here images stay in [0, 1],
    and L2 applies to all weights, as for the other methods.

    Args:
        student: any Keras model from images in [0, 1] to logits.
        attack_bn: "train" as in the authors' code, or "eval" as in much later code.
        **kwargs: arguments of `AdversarialModel`.
    """

    passes = ("adv",)
    start = "uniform_clipped"

    @checked
    def __init__(
        self,
        student: Network,
        *,
        attack_bn: Literal["eval", "train"] = "train",
        **kwargs: Any,
    ) -> None:
        super().__init__(student, attack_bn=attack_bn, **kwargs)

    def outer_loss(self, batch: Batch, logits: Logits) -> Tensor:
        """Return the cross-entropy on the adversarial images."""
        return losses.cross_entropy(batch.y, logits.adv[-1])
