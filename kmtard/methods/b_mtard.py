"""B-MTARD (Zhao et al., TPAMI 2024): two teachers and both balances."""

from __future__ import annotations

from typing import Any

import keras

from kmtard.backend.types import Network
from kmtard.methods.baseline import Baseline
from kmtard.registry.ranges import Bounds, Share, Weight, checked


@keras.saving.register_keras_serializable(package="kmtard")
class BMTARD(Baseline):
    """Two teachers with both balances: temperatures (EBB) and loss weights (NLB).

    Args:
        student: see `MultiTeacherDistiller`.
        nat_teacher: clean teacher; see `MultiTeacherDistiller`.
        adv_teacher: robust teacher; see `MultiTeacherDistiller`.
        temperature_rate: rate of EBB per training step, >= 0; 1e-3 in the paper.
        temperature_bounds: (low, high) of both temperatures, 0 < low <= high.
        weight_rate: rate of NLB per training step, in [0, 1]; 0.025 in the paper.
        beta: exponent of NLB, >= 0; 1 in the paper.
        **kwargs: arguments of `MultiTeacherDistiller`.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> method = kmtard.methods.BMTARD(student, teacher, teacher)
        >>> method.compile(kmtard.optimizers.L2SGD(0.1, momentum=0.9))
        >>> callbacks = method.default_callbacks()
        >>> history = method.fit(x, y, callbacks=callbacks, verbose=0)
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
        self.set_balances(
            temperature_rate=temperature_rate,
            temperature_bounds=temperature_bounds,
            weight_rate=weight_rate,
            beta=beta,
        )
