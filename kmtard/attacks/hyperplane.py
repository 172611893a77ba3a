"""Hyperplanes that approximate the boundary between the label and another class."""

from __future__ import annotations

import numpy as np
from keras import ops

from kmtard import backend
from kmtard.attacks.classifier import Classifier
from kmtard.attacks.norms import column
from kmtard.attacks.projection import dual_length
from kmtard.backend.types import Labels, Tensor

UNROLLED = 20
"""Largest number of classes whose passes are compiled without a loop on a CPU."""


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

    This needs one forward pass, and one backward pass per class.
    """
    logits, pull = backend.pullback(classifier.logits, u)
    classes, own = classifier.num_classes, _entry(logits, y)
    away = -ops.one_hot(y, classes, dtype="float32")

    def normal(label: int | Tensor) -> Tensor:
        return pull(away + ops.one_hot(label, classes, dtype="float32"))

    # On a CPU, XLA runs convolutions inside a loop several times as slowly.
    if backend.on_cpu() and classes <= UNROLLED:
        # A stack, because XLA computes a chain of choices anew for each of its uses.
        normals = ops.stack([flat(normal(label)) for label in range(classes)], axis=1)
        leads = logits - own[:, None]
        lengths = ops.stack(
            [dual_length(normals[:, label], norm) for label in range(classes)], axis=1
        )
        distances = ops.abs(leads) / (lengths + 1e-12)
        distances = ops.where(ops.cast(away, "bool"), np.inf, distances)
        best = ops.argmin(distances, axis=1)
        chosen = ops.take_along_axis(normals, best[:, None, None], axis=1)
        return _entry(leads, best), ops.reshape(chosen, u.shape)

    def nearer(label: Tensor, best: tuple) -> tuple:
        lead = _entry(logits, ops.zeros_like(y) + label) - own
        direction = normal(label)
        distance = ops.abs(lead) / (dual_length(flat(direction), norm) + 1e-12)
        better = (y != label) & (distance < best[0])
        rows = ops.reshape(better, column(u))
        return (
            ops.where(better, distance, best[0]),
            ops.where(better, lead, best[1]),
            ops.where(rows, direction, best[2]),
        )

    zero = ops.zeros(y.shape, "float32")
    start = (zero + np.inf, zero, ops.zeros_like(u))
    return ops.fori_loop(0, classes, nearer, start)[1:]


def flat(images: Tensor) -> Tensor:
    """Return images as (batch, d)."""
    return ops.reshape(images, (images.shape[0], -1))


def _entry(logits: Tensor, labels: Labels) -> Tensor:
    return ops.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
