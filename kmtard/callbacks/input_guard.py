"""Stop where images were not in [0, 1], or labels were no classes."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
from keras import ops

from kmtard.backend.types import Tensor

_IMAGES, _LABELS = 0.25, 0.5


class InputGuard(keras.callbacks.Callback):
    """Raise when the steps met images or labels that no method can use.

    The steps only mark the first batch that is wrong (`mark`), so that nothing waits
    for the device. The mark is read before a validation, at its end, and at the end of
    the epoch, before other callbacks see these: nothing of that epoch is kept. `fit`
    and `evaluate` of a method add this.
    """

    def __init__(self) -> None:
        super().__init__()
        self._epoch: int | None = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Forget what an earlier epoch or `fit` met."""
        del logs
        self._epoch = epoch + 1
        self.model.invalid_inputs.assign(0.0)

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Read the mark of the epoch that the validation follows."""
        del logs
        if self._epoch is not None:
            self._check(f"of epoch {self._epoch}")
        self.model.invalid_inputs.assign(0.0)

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """Read the mark of the evaluation."""
        del logs
        epoch = "" if self._epoch is None else f" after epoch {self._epoch}"
        self._check(f"of the evaluation{epoch}")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Read the mark of the epoch."""
        del logs
        self._epoch = None
        self._check(f"of epoch {epoch + 1}")

    def _check(self, place: str) -> None:
        found = first_wrong(float(self.model.invalid_inputs.value))
        self.model.invalid_inputs.assign(0.0)
        if found is None:
            return
        where = f"first in batch {found.batch} {place}, counted from 1."
        distrust = "Nothing of this epoch or evaluation is to be trusted."
        if found.images:
            raise ValueError(
                "Images must be finite and lie in [0, 1]. Received: values outside or "
                f"NaN, {where} Scale the data (x / 255 for 8-bit images) and look for "
                f"damaged files. {distrust}"
            )
        raise ValueError(
            "Labels must be whole numbers from 0 to classes - 1, or one-hot rows. "
            f"Received: others, {where} Soft and mixed labels have no place in these "
            f"losses. {distrust}"
        )


class Wrong(NamedTuple):
    """The first batch that was wrong.

    Attributes:
        batch: its number in the epoch or evaluation, counted from 1.
        images: whether its images were wrong; otherwise its labels were.
    """

    batch: int
    images: bool


def mark(state: Tensor, images: Tensor, labels: Tensor) -> Tensor:
    """Count a batch, or mark it as the first that is wrong.

    Args:
        state: scalar float32: 0 at first, minus the number of batches as long as all
            were right, then the number of the first wrong one and a fraction for what
            is wrong.
        images: scalar bool, whether images of the batch are wrong.
        labels: scalar bool, whether labels of it are wrong.

    Returns:
        The state after the batch.
    """
    kinds = _IMAGES * ops.cast(images, "float32") + _LABELS * ops.cast(
        labels, "float32"
    )
    counted = ops.where(kinds > 0, 1.0 - state + kinds, state - 1.0)
    return ops.where(state > 0, state, counted)


def first_wrong(state: float) -> Wrong | None:
    """Return what `mark` has marked, None where all was right."""
    if not state > 0:
        return None
    return Wrong(int(state), state % _LABELS == _IMAGES)
