"""Baseline with Entropy-Based Balance, from the ablation of B-MTARD (TPAMI 2024)."""

from __future__ import annotations

from typing import Any

import keras

from kmtard.backend.types import Network
from kmtard.methods.baseline import Baseline
from kmtard.registry.ranges import Bounds, Weight, checked


@keras.saving.register_keras_serializable(package="kmtard")
class BaselineEBB(Baseline):
    """Distillation from two teachers with temperatures balanced by `EntropyBalance`.

    Args:
        student: see `MultiTeacherDistiller`.
        nat_teacher: clean teacher; see `MultiTeacherDistiller`.
        adv_teacher: robust teacher; see `MultiTeacherDistiller`.
        temperature_rate: rate of EBB per training step, >= 0; 1e-3 in the paper.
        temperature_bounds: (low, high) of both temperatures, 0 < low <= high.
        **kwargs: arguments of `MultiTeacherDistiller`.

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
        self.set_balances(
            temperature_rate=temperature_rate, temperature_bounds=temperature_bounds
        )
