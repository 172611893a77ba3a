"""Drive the weights of both losses: Normalization Loss Balance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kmtard.callbacks.rate import RateCallback
from kmtard.registry.ranges import Share, Weight, checked


class NormalizationLossBalance(RateCallback):
    """Let the loss weights move so that both losses fall at one relative speed (NLB).

    Sets rate and beta; the step does the moving
    (`balance.normalization_loss_balance`). Adds `nat_weight`, `adv_weight`,
    `relative_nat_loss` and `relative_adv_loss` to the epoch's logs.

    Args:
        rate: of a step, in [0, 1]; 0.025 in the paper.
        beta: exponent of the relative losses, >= 0; 1 in the paper.
        learning_rate: see `RateCallback`, as are the rest.
        milestones: see `RateCallback`.
        factor: see `RateCallback`.

    Raises:
        ValueError: an argument is out of its range.
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
        """Log weights and relative losses."""
        if logs is None:
            return
        logs["nat_weight"] = float(self.model.nat_weight.value)
        logs["adv_weight"] = float(self.model.adv_weight.value)
        for kind in ("nat", "adv"):
            initial = float(getattr(self.model, f"initial_{kind}_loss").value)
            if initial and f"{kind}_loss" in logs:
                logs[f"relative_{kind}_loss"] = logs[f"{kind}_loss"] / initial
