"""Baseline of B-MTARD (TPAMI 2024): two teachers, neither balance."""

from __future__ import annotations

from typing import Any

import keras

from kmtard.callbacks import EntropyBalance, NormalizationLossBalance
from kmtard.methods.multi_teacher import MultiTeacherDistiller


@keras.saving.register_keras_serializable(package="kmtard")
class Baseline(MultiTeacherDistiller):
    """`MultiTeacherDistiller` whose temperatures and weights stay where they start.

    Both of its callbacks have a rate of 0: they only log. The other rows of the paper's
    ablation are subclasses that set one or both rates. The rates are constant; set
    `callback.learning_rate` or `callback.milestones` to let one fall with the
    optimizer's.

    Args:
        student: see `MultiTeacherDistiller`, as are both teachers.
        nat_teacher: clean teacher.
        adv_teacher: robust teacher.
        **kwargs: those of `MultiTeacherDistiller`.
    """

    _balances: dict[str, Any] = {}

    def set_balances(self, **settings: Any) -> None:
        """Keep what the constructor of a subclass takes for its balances.

        Args:
            **settings: `temperature_rate`, `temperature_bounds`, `weight_rate`, `beta`.

        Raises:
            ValueError: a setting is out of its range.
        """
        self._balances = settings
        self.default_callbacks()  # they check the settings

    def balances(self) -> dict[str, Any]:
        """Return the settings of the balances that differ from a rate of 0."""
        return dict(self._balances)

    def default_callbacks(self) -> list[keras.callbacks.Callback]:
        """Return the callbacks that drive the balances and log them."""
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
        """Return the arguments that make an equal model."""
        return {**super().get_config(), **self.balances()}
