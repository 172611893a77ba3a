"""SAT, standard adversarial training (Madry et al., ICLR 2018)."""

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
    """`CE(f(x_adv), y)`: adversarial images only.

    The attack maximises the same from a uniform start inside [0, 1]. As in the authors'
    code (cifar10_challenge) it runs with BatchNorm in training mode. That code also
    standardises each image inside its network and decays kernels only; here attacks and
    teachers live in [0, 1], and L2 acts on all weights as for the other methods.

    Args:
        student: any Keras model from images in [0, 1] to logits.
        attack_bn: "train" as in the authors' code, "eval" as in many later ones.
        **kwargs: those of `AdversarialModel`.
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
