"""Baseline with Entropy-Based Balance of the temperatures (B-MTARD, TPAMI 2024)."""

from __future__ import annotations

from typing import Any

import keras

from kmtard.backend.types import Network
from kmtard.methods.baseline import Baseline
from kmtard.registry.ranges import Bounds, Weight, checked


@keras.saving.register_keras_serializable(package="kmtard")
class BaselineEBB(Baseline):
    """Two teachers whose temperatures move towards equal entropy; see `EntropyBalance`.

    Args:
        student: see `MultiTeacherDistiller`, as are both teachers.
        nat_teacher: clean teacher.
        adv_teacher: robust teacher.
        temperature_rate: of EBB, >= 0.
        temperature_bounds: (low, high) of both temperatures, 0 < low <= high.
        **kwargs: those of `MultiTeacherDistiller`.

    Raises:
        ValueError: an argument is out of its range.
    """

    @checked
    def __init__(
        self,
        student: Network,
        nat_teacher: Network,
        adv_teacher: Network,
        *,
        temperature_rate: Weight = 1e-3,
        temperature_bounds: Bounds = (1.0, 10.0),
        **kwargs: Any,
    ) -> None:
        super().__init__(student, nat_teacher, adv_teacher, **kwargs)
        self._balances = {
            "temperature_rate": temperature_rate,
            "temperature_bounds": temperature_bounds,
        }

    def balances(self) -> dict[str, Any]:
        """Return the settings of the balances that differ from a rate of 0."""
        return dict(self._balances)
