"""Normalization Loss Balance: set the rate of both loss weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kmtard.callbacks.rate import RateCallback
from kmtard.registry.ranges import Share, Weight, checked


class NormalizationLossBalance(RateCallback):
    """Move the loss weights so that both losses decrease at equal relative speed (NLB).

    The callback sets the rate and beta. The training step updates the weights
    (`balance.normalization_loss_balance`). `nat_weight`, `adv_weight`,
    `relative_nat_loss` and `relative_adv_loss` are added to the epoch's logs.

    Args:
        rate: rate per training step, in [0, 1]; 0.025 in the paper.
        beta: exponent of the relative losses, >= 0; 1 in the paper.
        learning_rate: see `RateCallback`.
        milestones: see `RateCallback`.
        factor: see `RateCallback`.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> nlb = kmtard.callbacks.NormalizationLossBalance(rate=0.025, beta=1.0)
        >>> distiller = kmtard.MultiTeacherDistiller(student, teacher, teacher)
        >>> distiller.compile(kmtard.optimizers.L2SGD(0.1))
        >>> history = distiller.fit(x, y, callbacks=[nlb], verbose=0)
        >>> "relative_adv_loss" in history.history
        True
    """

    @checked
    def __init__(
        self,
        rate: Share = 0.025,
        beta: Weight = 1.0,
        learning_rate: float | None = None,
        milestones: Sequence[int] = (),
        factor: float = 0.1,
    ) -> None:
        super().__init__(rate, learning_rate, milestones, factor)
        self.beta = beta

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Set the exponent."""
        self.require("weight_beta").assign(self.beta)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Set the rate of this epoch."""
        self.model.weight_rate.assign(min(self.rate_of(epoch), 1.0))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Add the weights and the relative losses to the logs."""
        if logs is None:
            return
        logs["nat_weight"] = float(self.model.nat_weight.value)
        logs["adv_weight"] = float(self.model.adv_weight.value)
        for kind in ("nat", "adv"):
            initial = float(getattr(self.model, f"initial_{kind}_loss").value)
            if initial and f"{kind}_loss" in logs:
                logs[f"relative_{kind}_loss"] = logs[f"{kind}_loss"] / initial
