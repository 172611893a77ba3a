"""Stop a training or evaluation that received invalid images or labels."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
from keras import ops

from kmtard.backend.types import Tensor

_IMAGES, _LABELS = 0.25, 0.5


class InputGuard(keras.callbacks.Callback):
    """Raise a ValueError after a step that received invalid images or labels.

    The steps only record the first invalid batch (`mark`), so that no step waits for
    the device. The callback reads this record before each validation, after it, and at
    the end of the epoch. It runs before the other callbacks, so that they keep nothing
    of an invalid epoch. `fit` and `evaluate` of a method add this callback.
    """

    def __init__(self) -> None:
        super().__init__()
        self._epoch: int | None = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Clear the record of an earlier epoch or `fit`."""
        del logs
        self._epoch = epoch + 1
        self.model.invalid_inputs.assign(0.0)

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Check the batches of the epoch before its validation begins."""
        del logs
        if self._epoch is not None:
            self._check(f"of epoch {self._epoch}")
        self.model.invalid_inputs.assign(0.0)

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """Check the batches of the evaluation."""
        del logs
        epoch = "" if self._epoch is None else f" after epoch {self._epoch}"
        self._check(f"of the evaluation{epoch}")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Check the batches of the epoch."""
        del logs
        self._epoch = None
        self._check(f"of epoch {epoch + 1}")

    def _check(self, place: str) -> None:
        found = first_wrong(float(self.model.invalid_inputs.value))
        self.model.invalid_inputs.assign(0.0)
        if found is None:
            return
        where = f"first in batch {found.batch} {place}, counted from 1."
        distrust = "Do not use any result of this epoch or evaluation."
        if found.images:
            raise ValueError(
                "Images must be finite and in [0, 1]. Received: other values or NaN, "
                f"{where} Scale the images (x / 255 for 8-bit images) and check for "
                f"damaged files. {distrust}"
            )
        raise ValueError(
            "Labels must be whole numbers from 0 to classes - 1, or one-hot rows. "
            f"Received: other labels, {where} These losses do not support soft or "
            f"mixed labels. {distrust}"
        )


class Wrong(NamedTuple):
    """The first invalid batch.

    Attributes:
        batch: its number in the epoch or evaluation, counted from 1.
        images: whether its images were invalid and its labels valid.
    """

    batch: int
    images: bool


def mark(state: Tensor, images: Tensor, labels: Tensor) -> Tensor:
    """Count a batch, or record it as the first invalid one.

    Args:
        state: float32 scalar, initially 0. While all batches are valid, it is minus
            their number. From the first invalid batch on, it is the number of that
            batch plus a fraction: 0.25 for invalid images, 0.5 for invalid labels, 0.75
            for both.
        images: bool scalar, whether images of the batch are invalid.
        labels: bool scalar, whether labels of the batch are invalid.

    Returns:
        The state after the batch.
    """
    kinds = _IMAGES * ops.cast(images, "float32") + _LABELS * ops.cast(
        labels, "float32"
    )
    counted = ops.where(kinds > 0, 1.0 - state + kinds, state - 1.0)
    return ops.where(state > 0, state, counted)


def first_wrong(state: float) -> Wrong | None:
    """Return the batch that `mark` has recorded; None if all batches are valid."""
    if not state > 0:
        return None
    return Wrong(int(state), state % _LABELS == _IMAGES)
