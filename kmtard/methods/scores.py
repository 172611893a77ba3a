"""Clean, robust and W-Robust accuracy as Keras metrics."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any

import keras
from keras import ops

NAMES = {"nat": "clean_accuracy", "adv": "robust_accuracy"}
W_ROBUST = "w_robust_accuracy"


class Scores:
    """Clean, robust and W-Robust accuracy of the steps.

    W-Robust accuracy is the mean of clean and robust accuracy (B-MTARD, section 4).

    Attributes:
        metrics: "nat" or "adv" -> the Keras metric of this kind of image.
    """

    def __init__(self) -> None:
        self.metrics = {kind: keras.metrics.Mean(name) for kind, name in NAMES.items()}

    def update(self, logits: dict[str, tuple], y: Any, sample_weight: Any) -> None:
        """Add a batch.

        Args:
            logits: "nat" or "adv" -> the student's logits (batch, classes) per pass, of
                which the last is used.
            y: (batch,) integer labels.
            sample_weight: (batch,) weights, or None.
        """
        for kind, passes in logits.items():
            predicted = ops.cast(ops.argmax(passes[-1], axis=-1), y.dtype)
            correct = ops.cast(predicted == y, "float32")
            self.metrics[kind].update_state(correct, sample_weight)

    def results(self, kinds: Iterable[str]) -> dict[str, Any]:
        """Return the accuracies by name, for the kinds of images in the steps."""
        scores = {
            NAMES[kind]: self.metrics[kind].result() for kind in NAMES if kind in kinds
        }
        if len(scores) == len(NAMES):
            scores[W_ROBUST] = 0.5 * sum(scores.values())
        return scores


def set_directions(callbacks: Any, losses: Container[str]) -> None:
    """Set whether callbacks in mode "auto" maximize or minimize their monitored value.

    Keras knows the direction of compiled metrics only, and the accuracies and losses of
    a method are not among these.

    Args:
        callbacks: a list or a `keras.callbacks.CallbackList`.
        losses: names of a method's averages; those that end in "loss" are minimized.
    """
    for callback in getattr(callbacks, "callbacks", callbacks):
        if getattr(callback, "mode", None) != "auto":
            continue
        name = str(getattr(callback, "monitor", "")).removeprefix("val_")
        if name in (*NAMES.values(), W_ROBUST):
            callback.mode = "max"
        elif name in losses and name.endswith("loss"):
            callback.mode = "min"
