"""Distillation from two teachers: the base of B-MTARD (TPAMI 2024) and its ablation."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from kmtard import balance, losses
from kmtard.backend.types import Network, Tensor
from kmtard.methods.batch import Batch, Logits
from kmtard.methods.distiller import Distiller, soft_label_loss
from kmtard.registry.ranges import Positive, checked


@keras.saving.register_keras_serializable(package="kmtard")
class MultiTeacherDistiller(Distiller):
    """Distill a clean teacher on clean images and a robust one on adversarial images.

        L_nat = c KL5(softmax(T_nat(x) / tau_nat), softmax f(x))
        L_adv = c KL5(softmax(T_adv(x_adv) / tau_adv), softmax f(x_adv))
        L     = w_nat L_nat + w_adv L_adv

    KL5 is the element mean (batch mean / C for C classes) with 1e-5 inside the
    teacher's logarithm, and c = C / 10. Each training step updates the temperatures
    (EBB) and the weights (NLB), at the rates that the callbacks `EntropyBalance` and
    `NormalizationLossBalance` set. Without a callback, the rate is 0. The loss uses the
    weights after their update, and the temperatures before theirs.

    `Baseline`, `BaselineEBB`, `MTARD` and `BMTARD` are this class with the callbacks of
    the paper's ablation.

    Args:
        student: any Keras model from images in [0, 1] to logits.
        nat_teacher: clean teacher, a Keras model of the same kind; it is frozen
            (`trainable = False`).
        adv_teacher: robust teacher, a Keras model of the same kind; it is frozen.
        temperature: initial temperature of both teachers, or (nat, adv), > 0. The paper
            has 2 for MobileNet-v2 on CIFAR-10 and 1 otherwise.
        class_scale: the factor c; None for C / 10, see `distiller.soft_label_loss`.
        **kwargs: arguments of `AdversarialModel`.

    Attributes:
        nat_temperature: variable, tau_nat.
        adv_temperature: variable, tau_adv.
        nat_weight: variable, w_nat in [0, 1].
        adv_weight: variable, w_adv; both weights sum to 1.
        initial_nat_loss: variable, the first L_nat above 0; 0 until there is one.
        initial_adv_loss: variable, the first L_adv above 0; 0 until there is one.
        temperature_rate: variable, the rate of EBB.
        temperature_bounds: variable (2,), the bounds of both temperatures.
        weight_rate: variable, the rate of NLB.
        weight_beta: variable, the exponent of NLB.

    Raises:
        ValueError: the networks have different numbers of classes, or a temperature is
            not above 0.

    Example:
        >>> import kmtard
        >>> from kmtard.callbacks import EntropyBalance, NormalizationLossBalance
        >>> networks = [kmtard.networks.small_cnn(10, (8, 8, 1)) for _ in range(3)]
        >>> model = kmtard.MultiTeacherDistiller(*networks)
        >>> model.compile(kmtard.optimizers.L2SGD(0.1, momentum=0.9))
        >>> balances = [EntropyBalance(rate=1e-3), NormalizationLossBalance(rate=0.025)]
        >>> history = model.fit(x, y, callbacks=balances, verbose=0)
        >>> "nat_temperature" in history.history
        True
    """

    tracked = ("nat_loss", "adv_loss", "nat_entropy", "adv_entropy")

    @checked
    def __init__(
        self,
        student: Network,
        nat_teacher: Network,
        adv_teacher: Network,
        *,
        temperature: Positive | tuple[Positive, Positive] = 1.0,
        class_scale: Positive | None = None,
        **kwargs: Any,
    ) -> None:
        teachers = {"nat_teacher": nat_teacher, "adv_teacher": adv_teacher}
        super().__init__(student, teachers, **kwargs)
        self.temperature = temperature
        self.class_scale = class_scale
        nat, adv = np.broadcast_to(np.asarray(temperature, "float32"), (2,))
        self.nat_temperature = self.add_state("nat_temperature", nat)
        self.adv_temperature = self.add_state("adv_temperature", adv)
        self.roundings = self.add_state("roundings", np.zeros(2, "float32"))
        self.nat_weight = self.add_state("nat_weight", 0.5)
        self.adv_weight = self.add_state("adv_weight", 0.5)
        self.initial_nat_loss = self.add_state("initial_nat_loss", 0.0)
        self.initial_adv_loss = self.add_state("initial_adv_loss", 0.0)
        self.temperature_rate = self.add_state("temperature_rate", 0.0)
        self.temperature_bounds = self.add_state(
            "temperature_bounds", np.array([1.0, 10.0], "float32")
        )
        self.weight_rate = self.add_state("weight_rate", 0.0)
        self.weight_beta = self.add_state("weight_beta", 1.0)

    def outer_loss(self, batch: Batch, logits: Logits) -> Tensor:
        """Return the weighted sum of both distillation losses."""
        return self.two_teacher_loss(
            batch,
            Logits((logits.nat[-1],), (logits.adv[-1],)),
            nat_target=self.taught("nat_teacher", batch.x_nat),
            adv_target=self.taught("adv_teacher", batch.x_adv),
        )

    def two_teacher_loss(
        self, batch: Batch, logits: Logits, *, nat_target: Tensor, adv_target: Tensor
    ) -> Tensor:
        """Return the (batch,) loss, and in training update temperatures and weights.

        Args:
            batch: the step's batch.
            logits: the student's logits, one pass for each kind of image.
            nat_target: (batch, classes) logits of the clean teacher on clean images.
            adv_target: (batch, classes) logits of the robust teacher on adversarial
                images.
        """
        nat_target, adv_target = map(ops.stop_gradient, (nat_target, adv_target))
        nat = self._distillation(nat_target, logits.nat[0], self.nat_temperature.value)
        adv = self._distillation(adv_target, logits.adv[0], self.adv_temperature.value)
        dtype = self.nat_weight.dtype  # the networks' may be another
        nat_loss, adv_loss = (
            ops.cast(ops.stop_gradient(batch.mean(each)), dtype) for each in (nat, adv)
        )
        self.track("nat_loss", batch.weighted(nat))
        self.track("adv_loss", batch.weighted(adv))
        temperatures = self._balanced_temperatures(nat_target, adv_target)
        weights = self.nat_weight.value, self.adv_weight.value
        if batch.training:
            weights = self._balance_weights(nat_loss, adv_loss)
            self.nat_temperature.assign(temperatures.nat)
            self.adv_temperature.assign(temperatures.adv)
            self.roundings.assign(ops.stack(temperatures[2:]))
        weighted = (
            ops.multiply(*pair) for pair in zip(weights, (nat, adv), strict=True)
        )
        return ops.add(*weighted)

    def _distillation(
        self, target: Tensor, logits: Tensor, temperature: Tensor
    ) -> Tensor:
        return soft_label_loss(
            target, logits, temperature=temperature, class_scale=self.class_scale
        )

    def _balanced_temperatures(
        self, nat_target: Tensor, adv_target: Tensor
    ) -> balance.Temperatures:
        present = balance.Temperatures(
            self.nat_temperature.value,
            self.adv_temperature.value,
            *ops.unstack(self.roundings.value),
        )
        # A single reduction for both: equal logits must have exactly equal entropies,
        # or the sign of a rounding error would move the temperatures apart.
        targets = ops.stack([*map(losses.at_least_float32, (nat_target, adv_target))])
        temperatures = ops.reshape(ops.stack([present.nat, present.adv]), (2, 1, 1))
        entropies = losses.entropy(targets, temperature=temperatures)
        self.track("nat_entropy", entropies[0])
        self.track("adv_entropy", entropies[1])
        means = ops.cast(ops.mean(entropies, axis=1), self.nat_temperature.dtype)
        nat, adv = ops.unstack(means)
        return balance.entropy_balance(
            present,
            nat,
            adv,
            rate=self.temperature_rate.value,
            bounds=tuple(ops.unstack(self.temperature_bounds.value)),
        )

    def _balance_weights(
        self, nat_loss: Tensor, adv_loss: Tensor
    ) -> tuple[Tensor, Tensor]:
        initial_nat = balance.initial_loss(self.initial_nat_loss.value, nat_loss)
        initial_adv = balance.initial_loss(self.initial_adv_loss.value, adv_loss)
        # While an initial loss is 0, this is 0 / 0, and the weights do not change.
        nat, adv = balance.normalization_loss_balance(
            self.nat_weight.value,
            self.adv_weight.value,
            nat_loss / initial_nat,
            adv_loss / initial_adv,
            rate=self.weight_rate.value,
            beta=self.weight_beta.value,
        )
        self.initial_nat_loss.assign(initial_nat)
        self.initial_adv_loss.assign(initial_adv)
        self.nat_weight.assign(nat)
        self.adv_weight.assign(adv)
        return nat, adv

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """Train as `AdversarialModel.fit` does.

        The callbacks of the balances apply to this call only. Afterwards the rates are
        0, even if training fails. The next `fit` without the callbacks keeps the
        current temperatures and weights.
        """
        try:
            return super().fit(*args, **kwargs)
        finally:
            self.temperature_rate.assign(0.0)
            self.weight_rate.assign(0.0)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of an equal model, including the networks."""
        return {
            **super().get_config(),
            "temperature": self.temperature,
            "class_scale": self.class_scale,
        }
