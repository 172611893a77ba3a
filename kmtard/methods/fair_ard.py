"""Fair-ARD (Yue et al., NeurIPS 2023): ARD with larger weights for weak classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from kmtard import losses
from kmtard.backend.types import Network, Tensor, Variable
from kmtard.callbacks import ClassWeights
from kmtard.methods.ard import ARD
from kmtard.methods.batch import Batch, Logits
from kmtard.registry.ranges import Bounds, Weight, checked


@keras.saving.register_keras_serializable(package="kmtard")
class FairARD(ARD):
    """ARD with the loss of each image multiplied by a weight omega of its class.

        omega = (kappa + 1e-5)^-beta,  scaled to a mean of 1,  clipped to `bounds`

    kappa[c] is the mean number of attack steps at which an image of class c was still
    classified correctly. It is counted in the attack's own forward passes. The weights
    are 1 in the first epoch, and `callbacks.ClassWeights` updates them after each
    epoch. The authors divide by n / C for n images and C classes. Here each sum is
    divided by the number of images of its class, which is the same for classes of equal
    size. The authors' optimizer has Nesterov momentum.

    Args:
        student: any Keras model from images in [0, 1] to logits.
        adv_teacher: robust teacher, a Keras model of the same kind; it is frozen
            (`trainable = False`).
        beta: exponent, >= 0; larger values give weak classes more weight.
        bounds: (low, high) of the weights, 0 < low <= high.
        **kwargs: arguments of `ARD`.

    Attributes:
        class_weights: variable (classes,), omega.

    Raises:
        ValueError: an argument is out of its range.
    """

    class_state = {"class_weights": 1.0}
    class_sums = ("robust_steps", "class_images")

    @checked
    def __init__(
        self,
        student: Network,
        adv_teacher: Network,
        *,
        beta: Weight = 2.0,
        bounds: Bounds = (0.8333333333333334, 2.5),
        **kwargs: Any,
    ) -> None:
        super().__init__(student, adv_teacher, **kwargs)
        self.beta = beta
        self.bounds = bounds

    @property
    def attack_state(self) -> list[Variable]:
        """The variable that the inner loss updates."""
        return [self.robust_steps]

    def inner_loss(self, batch: Batch) -> Callable[[Tensor], Tensor]:
        """Return the cross-entropy, and count the steps with correct predictions."""
        self.sum_up("class_images", ops.ones_like(batch.y, "float32"), batch.y)

        def objective(logits: Tensor) -> Tensor:
            predicted = ops.cast(ops.argmax(logits, axis=-1), batch.y.dtype)
            self.sum_up("robust_steps", predicted == batch.y, batch.y)
            return losses.cross_entropy(batch.y, logits)

        return objective

    def outer_loss(self, batch: Batch, logits: Logits) -> Tensor:
        """Return ARD's loss, multiplied by the weight of each image's class."""
        weights = ops.take(self.class_weights.value, batch.y)
        return ops.multiply(weights, super().outer_loss(batch, logits))

    def default_callbacks(self) -> list[keras.callbacks.Callback]:
        """Return the callback that updates the class weights."""
        return [*super().default_callbacks(), ClassWeights(self.beta, self.bounds)]

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of an equal model."""
        return {**super().get_config(), "beta": self.beta, "bounds": self.bounds}
