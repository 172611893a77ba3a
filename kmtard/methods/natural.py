"""Natural training: plain cross-entropy on clean images."""

from __future__ import annotations

import keras

from kmtard import losses
from kmtard.backend.types import Tensor
from kmtard.methods.base import AdversarialModel
from kmtard.methods.batch import Batch, Logits


@keras.saving.register_keras_serializable(package="kmtard")
class Natural(AdversarialModel):
    """`CE(f(x), y)`; no attack while training, the usual one in the evaluation.

    Args:
        student: any Keras model from images in [0, 1] to logits.
        **kwargs: those of `AdversarialModel`.
    """

    passes = ("nat",)

    def outer_loss(self, batch: Batch, logits: Logits) -> Tensor:
        """Return the cross-entropy on the clean images."""
        return losses.cross_entropy(batch.y, logits.nat[-1])
