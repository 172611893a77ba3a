"""Natural training: cross-entropy on clean images, without an attack."""

from __future__ import annotations

import keras

from kmtard import losses
from kmtard.backend.types import Tensor
from kmtard.methods.base import AdversarialModel
from kmtard.methods.batch import Batch, Logits


@keras.saving.register_keras_serializable(package="kmtard")
class Natural(AdversarialModel):
    """Natural training with the loss `CE(f(x), y)`.

    There is no attack in training. Evaluations are attacked as for any method.

    Args:
        student: any Keras model from images in [0, 1] to logits.
        **kwargs: arguments of `AdversarialModel`.

    Example:
        >>> method = kmtard.methods.Natural(student)
        >>> method.compile(kmtard.optimizers.L2SGD(0.1))
        >>> history = method.fit(x, y, verbose=0)
        >>> "clean_accuracy" in history.history
        True
    """

    passes = ("nat",)

    def outer_loss(self, batch: Batch, logits: Logits) -> Tensor:
        """Return the cross-entropy on the clean images."""
        return losses.cross_entropy(batch.y, logits.nat[-1])
