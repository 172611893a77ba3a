"""AdaAD (Huang et al., CVPR 2023): the attack maximizes the KL from the teacher."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import keras

from kmtard import losses
from kmtard.backend.types import Network, Tensor, Variable
from kmtard.methods.batch import Batch, Logits
from kmtard.methods.distiller import Distiller, soft_label_loss
from kmtard.registry.ranges import Positive, Share, checked


@keras.saving.register_keras_serializable(package="kmtard")
class AdaAD(Distiller):
    """Adaptive adversarial distillation: teacher and student see the same images.

        L = c [alpha KLe(p(T(x_adv)), p(f(x_adv))) + (1 - alpha) KLe(p(T(x)), p(f(x)))]

    T is the robust teacher. The attack maximizes KL(p(T(x_adv)) || p(f(x_adv))) in
    inference mode, with gradients through both networks. KLe is the element mean (batch
    mean / C for C classes). The authors' code uses the element mean for CIFAR-10
    (c = 1) and the batch mean for CIFAR-100 (c = C). The paper's formula is the batch
    mean for both.

    B-MTARD's paper does not compare with this method.

    Args:
        student: any Keras model from images in [0, 1] to logits.
        adv_teacher: robust teacher, a Keras model of the same kind; it is frozen
            (`trainable = False`).
        alpha: weight of the adversarial term, in [0, 1].
        class_scale: the factor c, a number, "element_mean" (1) or "batch_mean" (C).
            None follows the authors' code: "element_mean" for up to 10 classes,
            "batch_mean" for more.
        **kwargs: arguments of `AdversarialModel`.

    Raises:
        ValueError: an argument is out of its range, or networks do not match.

    Example:
    ```python
    import kmtard
    from kmtard.networks.small_cnn import small_cnn

    student, teacher = small_cnn(10, (8, 8, 1)), small_cnn(10, (8, 8, 1))
    model, callbacks = kmtard.methods.build(
        "adaad", student=student, adv_teacher=teacher, class_scale="batch_mean"
    )
    ```
    """

    passes = ("nat", "adv")

    @checked
    def __init__(
        self,
        student: Network,
        adv_teacher: Network,
        *,
        alpha: Share = 1.0,
        class_scale: Positive | Literal["element_mean", "batch_mean"] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(student, {"adv_teacher": adv_teacher}, **kwargs)
        self.alpha = alpha
        self.class_scale = class_scale

    def observe(self, images: Tensor, training: bool) -> tuple[Tensor, Tensor]:
        """Return the logits of the teacher and of the student."""
        return (
            self.adv_teacher(images, training=False),
            self.student(images, training=training),
        )

    @property
    def attack_state(self) -> list[Variable]:
        """The teacher's variables, which the attack reads if it assigns any."""
        return self.adv_teacher.variables if self.attack_bn == "train" else []

    def inner_loss(self, batch: Batch) -> Callable[[Tensor], Tensor]:
        """Return the divergence of the student from the teacher on the same images."""
        del batch
        return lambda logits: losses.kl_divergence(*logits)

    def scale(self, classes: int) -> float:
        """Return the factor c of the element mean."""
        if isinstance(self.class_scale, float | int):
            return self.class_scale
        authors = "element_mean" if classes <= 10 else "batch_mean"
        reduction = self.class_scale or authors
        return 1.0 if reduction == "element_mean" else float(classes)

    def outer_loss(self, batch: Batch, logits: Logits) -> Tensor:
        """Return the weighted sum of the losses on adversarial and clean images."""
        scale = self.scale(logits.adv[-1].shape[-1])
        nat, adv = (
            soft_label_loss(
                self.taught("adv_teacher", images),
                outputs[-1],
                class_scale=scale,
                floor=0,
            )
            for images, outputs in (
                (batch.x_nat, logits.nat),
                (batch.x_adv, logits.adv),
            )
        )
        return self.alpha * adv + (1 - self.alpha) * nat

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of an equal model."""
        return {
            **super().get_config(),
            "alpha": self.alpha,
            "class_scale": self.class_scale,
        }
