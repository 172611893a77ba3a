"""SCORE (Pang et al., ICML 2022): TRADES with squared distances of probabilities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from kmtard.backend.types import Network, Tensor
from kmtard.losses import at_least_float32
from kmtard.methods.base import AdversarialModel
from kmtard.methods.batch import Batch, Logits
from kmtard.registry.ranges import Share, Weight, checked


@keras.saving.register_keras_serializable(package="kmtard")
class SCORE(AdversarialModel):
    """TRADES with squared distances of probabilities (TRADES+LSE in the paper).

        L     = max(|p(x) - onehot(y)|^2 + beta |p(x_adv) - p(x)|^2 - bound, 0)
        bound = clip^2 + clip^2 / (C - 1)

    p is the softmax of the student for C classes. The bound is the squared distance
    between the one-hot label and a prediction whose probability of the label is
    `1 - clip`, with the rest shared by the other classes. Both outputs have gradients.
    The attack maximizes the second distance with a constant p(x), in inference mode,
    from a Gaussian start inside [0, 1].

    This is the part of the authors' code for training without generated images. That
    code also normalizes the images inside the network; here, as for all methods, the
    images stay in [0, 1].

    Args:
        student: any Keras model from images in [0, 1] to logits.
        beta: weight of the second distance, >= 0; 6 in the paper.
        clip: see the formula, in [0, 1]; 0.3 in the paper, 0 for no bound.
        **kwargs: arguments of `AdversarialModel`.

    Raises:
        ValueError: an argument is out of its range.
    """

    start = "gaussian_clipped"

    @checked
    def __init__(
        self, student: Network, *, beta: Weight = 6.0, clip: Share = 0.3, **kwargs: Any
    ) -> None:
        super().__init__(student, **kwargs)
        self.beta = beta
        self.clip = clip

    def inner_loss(self, batch: Batch) -> Callable[[Tensor], Tensor]:
        """Return the distance from the current prediction on the clean images."""
        reference = _softmax(self.student(batch.x_nat, training=False))
        reference = ops.stop_gradient(reference)
        return lambda logits: _squared_distance(_softmax(logits), reference)

    def outer_loss(self, batch: Batch, logits: Logits) -> Tensor:
        """Return the sum of both distances minus the bound, at least 0."""
        nat, adv = _softmax(logits.nat[-1]), _softmax(logits.adv[-1])
        classes = nat.shape[-1]
        labels = ops.one_hot(batch.y, classes, dtype=nat.dtype)
        robust = self.beta * _squared_distance(adv, nat)
        bound = self.clip**2 + self.clip**2 / (classes - 1)
        return ops.relu(_squared_distance(nat, labels) + robust - bound)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of an equal model."""
        return {**super().get_config(), "beta": self.beta, "clip": self.clip}


def _softmax(logits: Tensor) -> Tensor:
    return ops.softmax(at_least_float32(logits))


def _squared_distance(first: Tensor, second: Tensor) -> Tensor:
    return ops.sum(ops.square(first - second), axis=-1)
