"""The epochs after which a training evaluates, and its learning rates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kmtard.recipe import Training


class EvaluationEpochs(list[int]):
    """The epochs, counted from 1, after which Keras evaluates.

    An epoch that a stop cut short is not evaluated.

    Args:
        training: the settings of the training.
        is_cut_short: returns whether a stop has cut the current epoch short.
    """

    def __init__(self, training: Training, is_cut_short: Callable[[], bool]) -> None:
        schedule = training.schedule
        late = min((*schedule.milestones, schedule.epochs))
        super().__init__(
            sorted(
                {
                    *{1, schedule.epochs},
                    *range(schedule.evaluate_every, late, schedule.evaluate_every),
                    *range(late, schedule.epochs + 1, schedule.evaluate_every_late),
                }
            )
        )
        self.is_cut_short = is_cut_short

    def __contains__(self, epoch: object) -> bool:
        return super().__contains__(epoch) and not self.is_cut_short()


def learning_rates(training: Training, model: Any) -> Callable[[int, float], float]:
    """Return the function `(epoch, present rate) -> rate` for `LearningRateScheduler`.

    Args:
        training: the settings of the training.
        model: the method, which says how often the rate has dropped after each
            milestone.

    Returns:
        The function. Epochs are counted from 0, and the present rate is ignored.
    """
    schedule = training.schedule

    def learning_rate(epoch: int, present: float) -> float:
        del present
        passed = sum(milestone <= epoch for milestone in schedule.milestones)
        drops: int = model.learning_rate_drops(passed)
        return training.optimizer.learning_rate * schedule.factor**drops

    return learning_rate
