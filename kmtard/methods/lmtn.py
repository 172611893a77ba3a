"""LMTN (You et al., KDD 2017), as in B-MTARD's comparison: mean teacher logits."""

from __future__ import annotations

from typing import Any

import keras

from kmtard.backend.types import Network, Tensor
from kmtard.methods.batch import Batch, Logits
from kmtard.methods.distiller import Distiller, soft_label_loss
from kmtard.registry.ranges import Positive, Share, checked


@keras.saving.register_keras_serializable(package="kmtard")
class LMTN(Distiller):
    """Learning from multiple teacher networks: one average of both teachers' logits.

        L = c [1/2 KL5(p(z(x)), p(f(x))) + 1/2 KL5(p(z(x_adv)), p(f(x_adv)))]
        z = w_teacher T_nat + (1 - w_teacher) T_adv

    KL5 is the element mean (batch mean / C for C classes) with 1e-5 inside the
    teacher's logarithm, and c = C / 10. The attack maximizes the cross-entropy in
    inference mode.

    This is a reconstruction from section 4.5 of B-MTARD (TPAMI 2024). The authors have
    not published code, and the paper states neither the weights nor the temperature (1
    here). It does not mention the intermediate-layer term of the original method (You
    et al., KDD 2017), which is therefore not included.

    Args:
        student: any Keras model from images in [0, 1] to logits.
        nat_teacher: clean teacher, a Keras model of the same kind; it is frozen
            (`trainable = False`).
        adv_teacher: robust teacher, a Keras model of the same kind; it is frozen.
        w_teacher: weight of the clean teacher's logits, in [0, 1].
        class_scale: the factor c; None for C / 10, see `distiller.soft_label_loss`.
        **kwargs: arguments of `AdversarialModel`.

    Raises:
        ValueError: `w_teacher` is out of its range.
    """

    @checked
    def __init__(
        self,
        student: Network,
        nat_teacher: Network,
        adv_teacher: Network,
        *,
        w_teacher: Share = 0.5,
        class_scale: Positive | None = None,
        **kwargs: Any,
    ) -> None:
        teachers = {"nat_teacher": nat_teacher, "adv_teacher": adv_teacher}
        super().__init__(student, teachers, **kwargs)
        self.w_teacher = w_teacher
        self.class_scale = class_scale

    def outer_loss(self, batch: Batch, logits: Logits) -> Tensor:
        """Return the mean of the soft-label losses on clean and adversarial images."""
        nat, adv = (
            soft_label_loss(
                self.w_teacher * self.taught("nat_teacher", images)
                + (1 - self.w_teacher) * self.taught("adv_teacher", images),
                outputs[-1],
                class_scale=self.class_scale,
            )
            for images, outputs in (
                (batch.x_nat, logits.nat),
                (batch.x_adv, logits.adv),
            )
        )
        return 0.5 * nat + 0.5 * adv

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of an equal model."""
        return {
            **super().get_config(),
            "w_teacher": self.w_teacher,
            "class_scale": self.class_scale,
        }
