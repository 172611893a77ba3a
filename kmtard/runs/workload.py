"""How much the phases of a run compute, counted from its recipe.

The counts are used to estimate the time of phases that have not begun from the measured
time of others. They are rough: the size of the networks is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kmtard.registry.roles import TEACHERS
from kmtard.runs.documents import table, whole

NATURAL = "natural"
"""The method that trains on clean images only."""

ONE_PASS = ("fgsm",)
PER_STEP = ("pgd_trades", "pgd_sat", "cw_inf")
"""Attacks whose number of passes is known: one, or one per step."""

COUNTS = ("train", "epoch", "test")


@dataclass(frozen=True)
class Images:
    """The numbers of images of a run.

    Attributes:
        train: images to train on.
        epoch: images that are evaluated after an epoch.
        test: images of the final evaluation.
    """

    train: int
    epoch: int
    test: int

    @classmethod
    def of(cls, value: Any) -> Images | None:
        """Return the numbers in an event; None if they are missing or damaged."""
        found = table(value)
        train, epoch, test = (whole(found.get(name)) for name in COUNTS)
        if not train or epoch is None or test is None:
            return None
        return cls(train, epoch, test)


class Workload:
    """Counts passes: one pass is forward and backward through a network for one image.

    Args:
        recipe: the resolved recipe, which may be damaged in any way.

    Attributes:
        images: the numbers of images; None if its events do not tell.
        batch_size: images per batch; None if unknown.
        epochs: role -> epochs of each network that the run may train, in order.

    Example:
        >>> load = Workload({"schedule": {"epochs": 2}, "attack": {"steps": 10}})
        >>> load.epochs, load.per_epoch("student")
        ({'student': 2}, 11.0)
    """

    def __init__(self, recipe: Mapping[str, Any]) -> None:
        self._recipe = recipe
        self.images: Images | None = None
        self.batch_size = whole(table(recipe, "data").get("batch_size"))
        planned = {
            role: table(recipe, role, "method", "schedule")
            for role in TEACHERS
            if table(recipe, role).get("train") is True
        }
        planned["student"] = table(recipe, "schedule")
        self.epochs = {
            role: epochs
            for role, schedule in planned.items()
            if (epochs := whole(schedule.get("epochs")))
        }

    def per_epoch(self, role: str) -> float:
        """Return the passes of an epoch, with the evaluation after it.

        Without the numbers of images, they are those of one training image.
        """
        is_student = role == "student"
        method = table(self._recipe, *(() if is_student else (role,)), "method")
        attack = table(self._recipe if is_student else method, "attack")
        steps = 0 if method.get("name") == NATURAL else whole(attack.get("steps")) or 0
        if self.images is None:
            return 1.0 + steps
        tried = 1 + (self._steps or 0)
        return float(self.images.train * (1 + steps) + self.images.epoch * tried)

    def of_evaluation(self) -> float | None:
        """Return the passes of the final evaluation of one network; None if unknown."""
        evaluation = table(self._recipe, "evaluation")
        attacks = evaluation.get("attacks")
        is_known = isinstance(attacks, list) and not evaluation.get("suite")
        if self.images is None or not is_known or self._steps is None:
            return None
        passes = 1
        for name in attacks if isinstance(attacks, list) else ():
            if name not in (*ONE_PASS, *PER_STEP):
                return None
            passes += 1 if name in ONE_PASS else self._steps
        return float(self.images.test * passes)

    def has_weights(self, role: str) -> bool:
        """Return whether a teacher is read from a file."""
        return bool(table(self._recipe, role).get("weights"))

    @property
    def _steps(self) -> int | None:
        return whole(table(self._recipe, "evaluation").get("steps"))
