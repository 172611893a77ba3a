"""Baseline of B-MTARD (TPAMI 2024): two teachers without balances."""

from __future__ import annotations

from typing import Any

import keras

from kmtard.callbacks import EntropyBalance, NormalizationLossBalance
from kmtard.methods.multi_teacher import MultiTeacherDistiller


@keras.saving.register_keras_serializable(package="kmtard")
class Baseline(MultiTeacherDistiller):
    """`MultiTeacherDistiller` with constant temperatures and weights.

    Both callbacks have a rate of 0, so that they only log. The other methods of the
    paper's ablation are subclasses that set one or both rates. These rates are
    constant. Set `callback.learning_rate` or `callback.milestones` to decrease them
    with the learning rate.

    Args:
        student: see `MultiTeacherDistiller`.
        nat_teacher: clean teacher; see `MultiTeacherDistiller`.
        adv_teacher: robust teacher; see `MultiTeacherDistiller`.
        **kwargs: arguments of `MultiTeacherDistiller`.
    """

    _balances: dict[str, Any] = {}

    def set_balances(self, **settings: Any) -> None:
        """Store the settings of the balances, for the constructors of subclasses.

        Args:
            **settings: `temperature_rate`, `temperature_bounds`, `weight_rate`, `beta`.

        Raises:
            ValueError: a setting is out of its range.
        """
        self._balances = settings
        self.default_callbacks()  # checks the settings

    def balances(self) -> dict[str, Any]:
        """Return the settings of the balances that differ from a rate of 0."""
        return dict(self._balances)

    def default_callbacks(self) -> list[keras.callbacks.Callback]:
        """Return the callbacks that control and log the balances."""
        settings = {
            "temperature_rate": 0.0,
            "temperature_bounds": (1.0, 10.0),
            "weight_rate": 0.0,
            "beta": 1.0,
            **self.balances(),
        }
        return [
            *super().default_callbacks(),
            EntropyBalance(
                settings["temperature_rate"], settings["temperature_bounds"]
            ),
            NormalizationLossBalance(settings["weight_rate"], settings["beta"]),
        ]

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of an equal model."""
        return {**super().get_config(), **self.balances()}
