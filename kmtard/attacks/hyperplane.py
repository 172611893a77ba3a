"""Hyperplanes that approximate the boundary between the label and another class."""

from __future__ import annotations

import numpy as np
from keras import ops

from kmtard import backend
from kmtard.attacks.classifier import Classifier
from kmtard.attacks.norms import column
from kmtard.attacks.projection import dual_length
from kmtard.backend.types import Labels, Tensor


def towards(
    classifier: Classifier, u: Tensor, y: Labels, target: Labels
) -> tuple[Tensor, Tensor]:
    """Return the target's logit minus the label's, (batch,), and its gradient."""

    def lead(images: Tensor) -> tuple[Tensor, tuple]:
        logits = classifier.logits(images)
        return _entry(logits, target) - _entry(logits, y), ()

    value, _, gradient = backend.value_and_gradient(lead, u)
    return value, gradient


def nearest(
    classifier: Classifier, u: Tensor, y: Labels, norm: str
) -> tuple[Tensor, Tensor]:
    """Return `towards` for the class whose hyperplane is nearest to `u`.

    This needs one forward and one backward pass per class.
    """

    def nearer(label: Tensor, best: tuple) -> tuple:
        lead, normal = towards(classifier, u, y, ops.zeros_like(y) + label)
        distance = ops.abs(lead) / (dual_length(flat(normal), norm) + 1e-12)
        better = (y != label) & (distance < best[0])
        rows = ops.reshape(better, column(u))
        return (
            ops.where(better, distance, best[0]),
            ops.where(better, lead, best[1]),
            ops.where(rows, normal, best[2]),
        )

    zero = ops.zeros(y.shape, "float32")
    start = (zero + np.inf, zero, ops.zeros_like(u))
    return ops.fori_loop(0, classifier.num_classes, nearer, start)[1:]


def flat(images: Tensor) -> Tensor:
    """Return images as (batch, d)."""
    return ops.reshape(images, (images.shape[0], -1))


def _entry(logits: Tensor, labels: Labels) -> Tensor:
    return ops.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
