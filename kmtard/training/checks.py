"""Detect networks with useless numbers: not finite, or always the same."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from keras import ops

from kmtard.registry.roles import LABELS, Role
from kmtard.runs.files import RunError

# Enough images to check whether the teacher's output depends on them.
SEEN_IMAGES = 32
# Largest relative difference between equal outputs, from rounding.
DEAD = 1e-6


def non_finite(variables: Iterable[Any]) -> list[Any]:
    """Return the variables that contain NaN or inf."""
    return [
        variable
        for variable in variables
        if keras.backend.is_float_dtype(variable.dtype)
        and not bool(ops.all(ops.isfinite(variable.value)))
    ]


def check_teacher(role: Role, network: Any, split: Any, origin: str) -> None:
    """Refuse a teacher that cannot teach.

    Args:
        role: the teacher's role.
        network: Keras model with its weights.
        split: training images, `data.pipeline.Split`.
        origin: where the weights come from, for the message.

    Raises:
        RunError: a weight or an output is NaN or inf, or the output is the same for all
            images.
    """
    who = f"The {LABELS[role]} from {origin}"
    broken = non_finite(network.variables)
    if broken:
        raise RunError(
            f"{who} has NaN or inf in {len(broken)} of {len(network.variables)} weight "
            f"arrays, such as {broken[0].path!r}. Expected finite numbers. Its "
            "training diverged, or the file is damaged. Use another file, or train it "
            "again."
        )
    count = min(SEEN_IMAGES, len(split))
    images = np.asarray(split.images[:count], "float32") / 255
    logits = np.asarray(network.predict_on_batch(images), "float32")
    if not np.isfinite(logits).all():
        raise RunError(
            f"{who} gives NaN or inf for some of {count} training images. Expected "
            "finite logits. Use another file, or train it again."
        )
    spread = np.ptp(logits, axis=0).max()
    if np.ptp(images, axis=0).any() and spread <= DEAD * max(1, np.abs(logits).max()):
        raise RunError(
            f"{who} gives the same output for all of {count} training images, so "
            "nothing can be learned from it. Its training collapsed. Train it again "
            "with a lower optimizer.learning_rate, or use another file."
        )
