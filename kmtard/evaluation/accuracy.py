"""Clean and robust accuracy of any Keras classifier on a set of images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from kmtard.attacks import PGD, Attack
from kmtard.data.sources import Images

CLEAN = "clean"


def accuracies(
    model: Any,
    images: Images,
    labels: np.ndarray,
    attacks: Mapping[str, Attack],
    *,
    batch_size: int,
    seed: int = 0,
    between: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """Return the accuracy on clean images and under each attack.

    An image counts as robust when it is classified correctly both as it is and after
    the attack.

    Args:
        model: from images in [0, 1] to logits.
        images: uint8 (N, height, width, channels).
        labels: integers (N,).
        attacks: name -> attack.
        batch_size: the last batch is filled up, so that nothing compiles twice.
        seed: of the random starts, which belong to an image whatever the batches.
        between: called before each batch; may raise to end it all.

    Returns:
        `clean` and each name -> share in [0, 1].
    """
    named = {CLEAN: PGD(steps=0, start="clean"), **attacks}
    correct = {name: np.zeros(len(images), bool) for name in named}
    for first in range(0, len(images), batch_size):
        rows = np.arange(first, min(first + batch_size, len(images)))
        x = images[rows].astype("float32") / 255
        for name, attack in named.items():
            between()
            result = attack.run(
                model, x, labels[rows], seed=seed, indices=rows, batch_size=batch_size
            )
            correct[name][rows] = ~result.success
    return {
        name: float(np.mean(values & correct[CLEAN]))
        for name, values in correct.items()
    }
