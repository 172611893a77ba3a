"""B-MTARD (Zhao et al., TPAMI 2024): two teachers and both balances."""

from __future__ import annotations

from typing import Any

import keras

from kmtard.backend.types import Network
from kmtard.methods.baseline import Baseline
from kmtard.registry.ranges import Bounds, Share, Weight, checked


@keras.saving.register_keras_serializable(package="kmtard")
class BMTARD(Baseline):
    """Two teachers, `EntropyBalance` and `NormalizationLossBalance`.

    Args:
        student: see `MultiTeacherDistiller`, as are both teachers.
        nat_teacher: clean teacher.
        adv_teacher: robust teacher.
        temperature_rate: of EBB, >= 0.
        temperature_bounds: (low, high) of both temperatures, 0 < low <= high.
        weight_rate: of NLB, in [0, 1].
        beta: exponent of NLB, >= 0.
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
        weight_rate: Share = 0.025,
        beta: Weight = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(student, nat_teacher, adv_teacher, **kwargs)
        self._balances = {
            "temperature_rate": temperature_rate,
            "temperature_bounds": temperature_bounds,
            "weight_rate": weight_rate,
            "beta": beta,
        }

    def balances(self) -> dict[str, Any]:
        """Return the settings of the balances that differ from a rate of 0."""
        return dict(self._balances)
