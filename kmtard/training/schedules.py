"""When a training evaluates, and how its learning rate falls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kmtard.recipe import Training


class EvaluationEpochs(list[int]):
    """Epochs, counted from 1, that Keras evaluates; none that a stop cut short."""

    def __init__(self, training: Training, is_cut_short: Callable[[], bool]) -> None:
        schedule = training.schedule
        dense = min(schedule.milestones, default=schedule.epochs)
        super().__init__(
            epoch
            for epoch in range(1, schedule.epochs + 1)
            if epoch == 1 or epoch >= dense or epoch % schedule.evaluate_every == 0
        )
        self.is_cut_short = is_cut_short

    def __contains__(self, epoch: object) -> bool:
        return super().__contains__(epoch) and not self.is_cut_short()


def learning_rates(training: Training, model: Any) -> Callable[[int, float], float]:
    """Return `(epoch counted from 0, present rate) -> rate`, as the method has it."""
    schedule = training.schedule

    def learning_rate(epoch: int, present: float) -> float:
        del present
        passed = sum(milestone <= epoch for milestone in schedule.milestones)
        drops: int = model.learning_rate_drops(passed)
        return training.optimizer.learning_rate * schedule.factor**drops

    return learning_rate
