"""What a step hands to a method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from keras import ops

from kmtard.backend.types import Tensor


class Logits(NamedTuple):
    """Student logits by kind of image, each in the order of its passes.

    Attributes:
        nat: of the clean images, one (batch, classes) array a pass.
        adv: of the adversarial images.
    """

    nat: tuple[Tensor, ...] = ()
    adv: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class Batch:
    """What a step works on.

    Attributes:
        x_nat: (batch, height, width, channels) in [0, 1].
        x_adv: the same images attacked; `x_nat` itself if the method does not attack.
        y: (batch,) integer labels.
        sample_weight: (batch,) or None.
        training: False in `test_step`: nothing may be assigned then.
        target: what `AdversarialModel.target` returned for `x_nat`.
    """

    x_nat: Tensor
    x_adv: Tensor
    y: Tensor
    sample_weight: Tensor | None
    training: bool
    target: Tensor | None = None

    def weighted(self, values: Tensor) -> Tensor:
        """Return (batch,) values, each times its sample weight."""
        if self.sample_weight is None:
            return values
        return values * ops.cast(self.sample_weight, values.dtype)

    def mean(self, values: Tensor) -> Tensor:
        """Average (batch,) values, each times its sample weight."""
        return ops.mean(self.weighted(values))


def integer_labels(labels: Tensor) -> Tensor:
    """Turn integer labels of any shape, or one-hot rows, into (batch,) int32."""
    if len(labels.shape) == 2 and labels.shape[-1] != 1:
        labels = ops.argmax(labels, axis=-1)
    return ops.cast(ops.reshape(labels, (-1,)), "int32")
