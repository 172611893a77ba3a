"""MTARD (Zhao et al., ECCV 2022): Baseline with Normalization Loss Balance."""

from __future__ import annotations

from typing import Any

import keras

from kmtard.backend.types import Network
from kmtard.methods.baseline import Baseline
from kmtard.registry.ranges import Share, Weight, checked


@keras.saving.register_keras_serializable(package="kmtard")
class MTARD(Baseline):
    """Two teachers with loss weights balanced by `NormalizationLossBalance`.

    Args:
        student: see `MultiTeacherDistiller`.
        nat_teacher: clean teacher; see `MultiTeacherDistiller`.
        adv_teacher: robust teacher; see `MultiTeacherDistiller`.
        weight_rate: rate of NLB per training step, in [0, 1]; 0.025 in the paper.
        beta: exponent of NLB, >= 0; 1 in the paper.
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
        weight_rate: Share = 0.025,
        beta: Weight = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(student, nat_teacher, adv_teacher, **kwargs)
        self.set_balances(weight_rate=weight_rate, beta=beta)
