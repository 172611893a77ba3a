"""RSLAD (Zi et al., ICCV 2021): robust soft labels for clean and adversarial images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from kmtard import losses
from kmtard.backend.types import Network, Tensor
from kmtard.methods.batch import Batch, Logits
from kmtard.methods.distiller import Distiller, soft_label_loss
from kmtard.registry.ranges import Positive, Share, checked


@keras.saving.register_keras_serializable(package="kmtard")
class RSLAD(Distiller):
    """Distillation of robust soft labels from one robust teacher T.

        L = c [5/6 KL5(p(T(x)), p(f(x_adv))) + 1/6 KL5(p(T(x)), p(f(x)))]

    The teacher sees the clean images in both terms. KL5 is the element mean (batch mean
    / C for C classes) with 1e-5 inside the teacher's logarithm, and c = C / 10. The
    attack maximizes KL(p(T(x)) || p(f(x_adv))), without this constant, in inference
    mode. One of the authors' scripts runs the teacher in half precision. Here the
    teacher runs in its own dtype.

    Args:
        student: any Keras model from images in [0, 1] to logits.
        adv_teacher: robust teacher, a Keras model of the same kind; it is frozen
            (`trainable = False`).
        adv_share: weight of the adversarial term, in [0, 1]; the clean term has weight
            `1 - adv_share`.
        class_scale: the factor c; None for C / 10, see `distiller.soft_label_loss`.
        **kwargs: arguments of `AdversarialModel`.

    Raises:
        ValueError: `adv_share` is out of its range.
    """

    @checked
    def __init__(
        self,
        student: Network,
        adv_teacher: Network,
        *,
        adv_share: Share = 0.8333333333333334,
        class_scale: Positive | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(student, {"adv_teacher": adv_teacher}, **kwargs)
        self.adv_share = adv_share
        self.class_scale = class_scale

    def target(self, x: Tensor) -> Tensor:
        """Return the teacher's logits on the clean images."""
        return self.taught("adv_teacher", x)

    def temperatures(self, y: Tensor) -> tuple[Tensor | float, Tensor | float]:
        """Return the teacher's temperatures for (clean, adversarial) images: 1."""
        del y
        return 1.0, 1.0

    def inner_loss(self, batch: Batch) -> Callable[[Tensor], Tensor]:
        """Return the KL from the teacher's prediction on the clean images."""
        _, temperature = self.temperatures(batch.y)
        return lambda logits: losses.kl_divergence(
            batch.target, logits, target_temperature=temperature
        )

    def outer_loss(self, batch: Batch, logits: Logits) -> Tensor:
        """Return the weighted sum of the losses on adversarial and clean images."""
        nat, adv = (
            soft_label_loss(
                batch.target,
                outputs[-1],
                temperature=temperature,
                class_scale=self.class_scale,
            )
            for outputs, temperature in zip(
                logits, self.temperatures(batch.y), strict=True
            )
        )
        return self.adv_share * adv + (1 - self.adv_share) * nat

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of an equal model."""
        return {
            **super().get_config(),
            "adv_share": self.adv_share,
            "class_scale": self.class_scale,
        }
