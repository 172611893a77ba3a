"""ABSLD (Zhao et al. 2024): RSLAD with a teacher temperature for each class."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kmtard import losses
from kmtard.backend.types import Network, Tensor
from kmtard.callbacks import ClassTemperatures
from kmtard.methods.batch import Batch, Logits
from kmtard.methods.rslad import RSLAD
from kmtard.registry.ranges import Bounds, Weight, checked


@keras.saving.register_keras_serializable(package="kmtard")
class ABSLD(RSLAD):
    """RSLAD with the soft labels `p(T(x) / tau_adv[y])` and `p(T(x) / tau_nat[y])`.

    Each class has two temperatures, for the labels of adversarial and of clean images.
    They are initially 1. After each epoch, `callbacks.ClassTemperatures` updates them
    from the mean cross-entropies S of the classes, so that hard classes get sharper
    labels:

        tau[c] <- clip(tau[c] - rate gap[c] / max |gap|, bounds),  gap = S - mean(S)

    The authors' code has sums instead of means, which is the same for classes of equal
    size.

    Args:
        student: any Keras model from images in [0, 1] to logits.
        adv_teacher: robust teacher, a Keras model of the same kind; it is frozen
            (`trainable = False`).
        rate: largest change of a temperature per epoch, >= 0; it decreases with the
            learning rate.
        bounds: (low, high) of the temperatures, 0 < low <= high.
        absld_code_product: whether to divide the logits of both labels by
            tau_adv[y] * tau_nat[y], as the authors' public code does: it divides one
            array in place, twice. The paper describes one temperature per label.
        **kwargs: arguments of `RSLAD`.

    Attributes:
        nat_class_temperature: variable (classes,), tau_nat.
        adv_class_temperature: variable (classes,), tau_adv.

    Raises:
        ValueError: an argument is out of its range.
    """

    class_state = {"nat_class_temperature": 1.0, "adv_class_temperature": 1.0}
    class_sums = ("nat_class_loss", "adv_class_loss", "class_images")

    @checked
    def __init__(
        self,
        student: Network,
        adv_teacher: Network,
        *,
        rate: Weight = 0.1,
        bounds: Bounds = (0.5, 5.0),
        absld_code_product: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(student, adv_teacher, **kwargs)
        self.rate = rate
        self.bounds = bounds
        self.absld_code_product = absld_code_product

    def temperatures(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the (batch, 1) temperatures for (clean, adversarial) images."""
        nat = ops.take(self.nat_class_temperature.value, y)[:, None]
        adv = ops.take(self.adv_class_temperature.value, y)[:, None]
        return (nat * adv, nat * adv) if self.absld_code_product else (nat, adv)

    def outer_loss(self, batch: Batch, logits: Logits) -> Tensor:
        """Return RSLAD's loss, and add to the cross-entropy sums of the classes."""
        if batch.training:
            y = batch.y
            for kind, outputs in zip(("nat", "adv"), logits, strict=True):
                hard = losses.cross_entropy(y, outputs[-1])
                self.sum_up(f"{kind}_class_loss", hard, y)
            self.sum_up("class_images", ops.ones_like(y, "float32"), y)
        return super().outer_loss(batch, logits)

    def default_callbacks(self) -> list[keras.callbacks.Callback]:
        """Return the callback that updates the temperatures."""
        return [*super().default_callbacks(), ClassTemperatures(self.rate, self.bounds)]

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of an equal model."""
        return {
            **super().get_config(),
            "rate": self.rate,
            "bounds": self.bounds,
            "absld_code_product": self.absld_code_product,
        }
