"""Clean, robust and W-Robust accuracy as Keras metrics."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any

import keras
from keras import ops

NAMES = {"nat": "clean_accuracy", "adv": "robust_accuracy"}
W_ROBUST = "w_robust_accuracy"


class Scores:
    """The accuracies of a step, by kind of image.

    W-Robust accuracy is half the clean and half the robust one (B-MTARD, section 4).

    Attributes:
        metrics: kind of image -> average, for Keras to track.
    """

    def __init__(self) -> None:
        self.metrics = {kind: keras.metrics.Mean(name) for kind, name in NAMES.items()}

    def update(self, logits: dict[str, tuple], y: Any, sample_weight: Any) -> None:
        """Add a batch: kind -> its student logits, of which the last pass counts."""
        for kind, passes in logits.items():
            predicted = ops.cast(ops.argmax(passes[-1], axis=-1), y.dtype)
            correct = ops.cast(predicted == y, "float32")
            self.metrics[kind].update_state(correct, sample_weight)

    def results(self, kinds: Iterable[str]) -> dict[str, Any]:
        """Return the averages of the kinds that a step has seen, by name."""
        scores = {
            NAMES[kind]: self.metrics[kind].result() for kind in NAMES if kind in kinds
        }
        if len(scores) == len(NAMES):
            scores[W_ROBUST] = 0.5 * sum(scores.values())
        return scores


def set_directions(callbacks: Any, losses: Container[str]) -> None:
    """Tell callbacks in mode "auto" whether what they monitor should rise or fall.

    Keras asks only compiled metrics for their direction, and W-Robust accuracy is not
    even a metric of its own.

    Args:
        callbacks: a list or a `keras.callbacks.CallbackList`.
        losses: names of a method's averages; what ends in "loss" should fall.
    """
    for callback in getattr(callbacks, "callbacks", callbacks):
        if getattr(callback, "mode", None) != "auto":
            continue
        name = str(getattr(callback, "monitor", "")).removeprefix("val_")
        if name in (*NAMES.values(), W_ROBUST):
            callback.mode = "max"
        elif name in losses and name.endswith("loss"):
            callback.mode = "min"
