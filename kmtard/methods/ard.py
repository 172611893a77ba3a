"""ARD, adversarially robust distillation (Goldblum et al., AAAI 2020)."""

from __future__ import annotations

from typing import Any, Literal

import keras

from kmtard import losses
from kmtard.backend.types import Network, Tensor
from kmtard.methods.batch import Batch, Logits
from kmtard.methods.distiller import Distiller
from kmtard.registry.ranges import Positive, Share, checked


@keras.saving.register_keras_serializable(package="kmtard")
class ARD(Distiller):
    """`alpha tau^2 KLe(p(T(x); tau), p(f(x_adv); tau)) + (1 - alpha) CE(f(x), y)`.

    T is the robust teacher, on clean images; p(z; tau) = softmax(z / tau). KLe is the
    element mean, batch mean / C: PyTorch's default, which the authors' code has and
    its numbers come from; the paper's formula is the batch mean. The attack maximises
    the cross-entropy from a uniform start, with BatchNorm in training mode; the clean
    pass runs, and moves BatchNorm's averages, also with alpha = 1.

    Args:
        student: any Keras model from images in [0, 1] to logits.
        adv_teacher: robust teacher, the same; it is frozen (`trainable = False`).
        temperature: tau > 0; 30 on CIFAR-10, 5 on CIFAR-100 and Tiny-ImageNet.
        alpha: in [0, 1]; 1 on CIFAR-10, 0.95 on CIFAR-100 and Tiny-ImageNet.
        ard_batchmean: take the batch mean, as in the paper's formula.
        fix_double_drop: let every milestone lower the learning rate, as the paper says.
            The authors' code takes a tenth of the first rate each time, so that its
            second milestone changes nothing.
        attack_bn: "train" as in the authors' code, or "eval".
        **kwargs: those of `AdversarialModel`.
    """

    start = "uniform"

    @checked
    def __init__(
        self,
        student: Network,
        adv_teacher: Network,
        *,
        temperature: Positive = 30.0,
        alpha: Share = 1.0,
        ard_batchmean: bool = False,
        fix_double_drop: bool = False,
        attack_bn: Literal["eval", "train"] = "train",
        **kwargs: Any,
    ) -> None:
        teachers = {"adv_teacher": adv_teacher}
        super().__init__(student, teachers, attack_bn=attack_bn, **kwargs)
        self.temperature = temperature
        self.alpha = alpha
        self.ard_batchmean = ard_batchmean
        self.fix_double_drop = fix_double_drop

    def outer_loss(self, batch: Batch, logits: Logits) -> Tensor:
        """Return the soft-label loss on x_adv and the cross-entropy on x."""
        soft = losses.kl_divergence(
            self.taught("adv_teacher", batch.x_nat) / self.temperature,
            logits.adv[0] / self.temperature,
        )
        if not self.ard_batchmean:
            soft = soft / logits.adv[0].shape[-1]
        hard = losses.cross_entropy(batch.y, logits.nat[0])
        return self.alpha * self.temperature**2 * soft + (1 - self.alpha) * hard

    def learning_rate_drops(self, milestones_passed: int) -> int:
        """Return 1 after any milestone, unless `fix_double_drop`."""
        return milestones_passed if self.fix_double_drop else min(milestones_passed, 1)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal model."""
        return {
            **super().get_config(),
            "temperature": self.temperature,
            "alpha": self.alpha,
            "ard_batchmean": self.ard_batchmean,
            "fix_double_drop": self.fix_double_drop,
        }
