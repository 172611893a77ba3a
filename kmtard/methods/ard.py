"""ARD (Goldblum et al., AAAI 2020): adversarially robust distillation."""

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
    """Adversarially robust distillation from one robust teacher T.

        L = alpha tau^2 KLe(p(T(x); tau), p(f(x_adv); tau)) + (1 - alpha) CE(f(x), y)

    Here p(z; tau) = softmax(z / tau). The teacher sees the clean images. KLe is the
    element mean (batch mean / C for C classes), PyTorch's default and that of the
    authors' code, which gave the published numbers. The paper's formula is the batch
    mean. The attack maximizes the cross-entropy from a uniform start, with BatchNorm in
    training mode. The clean images pass the student and update BatchNorm's averages
    even if alpha is 1.

    Args:
        student: any Keras model from images in [0, 1] to logits.
        adv_teacher: robust teacher, a Keras model of the same kind; it is frozen
            (`trainable = False`).
        temperature: tau, > 0; 30 on CIFAR-10, 5 on CIFAR-100 and Tiny-ImageNet.
        alpha: weight of the teacher's term, in [0, 1]; 1 on CIFAR-10, 0.95 on CIFAR-100
            and Tiny-ImageNet.
        ard_batchmean: whether to use the batch mean, as in the paper's formula.
        fix_double_drop: whether each milestone lowers the learning rate, as in the
            paper. The authors' code sets it to a tenth of the initial rate at each
            milestone, so that the second one has no effect.
        attack_bn: "train" as in the authors' code, or "eval".
        **kwargs: arguments of `AdversarialModel`.

    Raises:
        ValueError: an argument is out of its range.
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
        """Return the weighted soft-label loss on x_adv plus cross-entropy on x."""
        soft = losses.kl_divergence(
            self.taught("adv_teacher", batch.x_nat) / self.temperature,
            logits.adv[0] / self.temperature,
        )
        if not self.ard_batchmean:
            soft = soft / logits.adv[0].shape[-1]
        hard = losses.cross_entropy(batch.y, logits.nat[0])
        return self.alpha * self.temperature**2 * soft + (1 - self.alpha) * hard

    def learning_rate_drops(self, milestones_passed: int) -> int:
        """Return the number of drops: at most 1, unless `fix_double_drop` is set."""
        return milestones_passed if self.fix_double_drop else min(milestones_passed, 1)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of an equal model."""
        return {
            **super().get_config(),
            "temperature": self.temperature,
            "alpha": self.alpha,
            "ard_batchmean": self.ard_batchmean,
            "fix_double_drop": self.fix_double_drop,
        }
