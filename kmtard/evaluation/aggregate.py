"""Aggregate the batches of an attack into the figures of a column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from kmtard.evaluation.diagnostics.finding import Finding
from kmtard.evaluation.result import Column
from kmtard.evaluation.store import Batch
from kmtard.runs.results import Cost, Distance

STAGE = "stage/"
"""Prefix of the arrays with the robust images after each stage of an attack."""

FINDINGS = "doubts"
"""Name of the array with a batch's findings; version 0.1 chose this name."""

PICTURED, PICTURES = "pictured", "pictures"
"""Names of the arrays for PNG images: their indices (k,) and uint8 pixels (k, ...)."""

NO_DISTANCE = Distance(None, None)

KEYS = ("success", "queries", "forwards", "backwards", "outside", "linf", "l2")


class Aggregate:
    """The numbers of all batches of one attack, and a few images.

    Args:
        batches: the batches that `NetworkEvaluator` makes, in order.

    Attributes:
        fooled: bool (attacked images,), whether the prediction is wrong.
        predictions: int (attacked images,), the predicted classes; None if a batch of
            version 0.1 lacks them.
        pictures: index of the image -> uint8 image.
    """

    def __init__(self, batches: Iterable[Batch]) -> None:
        parts: dict[str, list[np.ndarray]] = {key: [] for key in (*KEYS, "seconds")}
        predictions: list[np.ndarray | None] = []
        self.pictures: dict[int, np.ndarray] = {}
        self._stages: dict[str, int] = {}
        self._findings: list[Finding] = []
        for batch in batches:
            for key, kept in parts.items():
                kept.append(np.atleast_1d(batch[key]))
            predictions.append(batch.get("predictions"))
            if PICTURED in batch:
                numbers = batch[PICTURED].tolist()
                self.pictures.update(zip(numbers, batch[PICTURES], strict=True))
            for key in batch:
                if key.startswith(STAGE):
                    name = key.removeprefix(STAGE)
                    left = self._stages.get(name, 0)
                    self._stages[name] = left + int(batch[key].sum())
            self._findings += [Finding(*map(str, each)) for each in batch[FINDINGS]]
        whole = {k: np.concatenate(v) if v else np.zeros(0) for k, v in parts.items()}
        self.fooled = whole["success"].astype(bool)
        known = [each for each in predictions if each is not None]
        self.predictions: np.ndarray | None = None
        if len(known) == len(predictions):
            self.predictions = np.concatenate([np.zeros(0, np.int64), *known])
        self._whole = whole

    def findings(self, name: str) -> list[Finding]:
        """Return the findings about the attack.

        Args:
            name: name of the attack, which begins each message.
        """
        found = [Finding(key, f"{name}: {text}") for key, text in self._findings]
        if outside := int(self._whole["outside"].sum()):
            text = (
                f"{name}: {outside} images are outside the attack's ball or [0, 1]. "
                "They count as not fooled."
            )
            found.append(Finding("outside-ball", text))
        return found

    def column(
        self,
        indices: np.ndarray,
        clean: Column | None,
        settings: Mapping[str, Any],
        before: Column | None = None,
    ) -> Column:
        """Return the outcome for all images.

        Args:
            indices: int (attacked images,), the indices of the attacked images.
            clean: the clean column; None if this is the clean column itself.
            settings: settings of the attack.
            before: outcome of the attack with a smaller radius, for the images that it
                fooled there; they are not in `indices`.
        """
        whole, fooled = self._whole, self.fooled
        robust, predictions, spread = ~fooled, self.predictions, None
        if clean is not None:
            # The images that are neither right nor in `indices` keep the outcome that
            # they had clean, or with the smaller radius.
            known = before or clean
            robust = np.zeros(len(clean.robust), bool)
            robust[indices] = ~fooled
            if predictions is not None and known.predictions is not None:
                predictions = known.predictions.copy()
                predictions[indices] = self.predictions
            else:
                predictions = None
            spread = self._spread(indices, clean, before)
        cost = Cost(
            queries=_mean(whole["queries"]) or 0.0,
            median_queries=_median(whole["queries"][fooled]),
            max_queries=int(whole["queries"].max(initial=0)),
            forwards=_mean(whole["forwards"]) or 0.0,
            backwards=_mean(whole["backwards"]) or 0.0,
            seconds=float(whole["seconds"].sum()),
        )
        stages = self._stages or None
        return Column(
            robust,
            settings,
            cost,
            _distance(spread, clean.robust) if clean and spread else NO_DISTANCE,
            stages,
            predictions,
            spread,
        )

    def _spread(
        self, indices: np.ndarray, clean: Column, before: Column | None
    ) -> dict[str, np.ndarray]:
        """Return norm -> float (images,), the distance at which each was fooled."""
        spread = {}
        for norm in ("linf", "l2"):
            known = before.spread if before else None
            values = known[norm].copy() if known else np.where(clean.robust, np.inf, 0)
            values[indices] = np.where(self.fooled, self._whole[norm], np.inf)
            spread[norm] = values
        return spread


def distances(x: np.ndarray, x_adv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the L_inf and L2 distances (N,) between images and adversarial images."""
    change = (x_adv.astype("float64") - x).reshape(len(x), -1)
    return np.abs(change).max(axis=1), np.sqrt((change**2).sum(axis=1))


def l1_distances(x: np.ndarray, x_adv: np.ndarray) -> np.ndarray:
    """Return the L1 distances (N,) between images and adversarial images."""
    change = (x_adv.astype("float64") - x).reshape(len(x), -1)
    return np.abs(change).sum(axis=1)


def _distance(spread: Mapping[str, np.ndarray], right: np.ndarray) -> Distance:
    fooled = {norm: x[right & np.isfinite(x)] for norm, x in spread.items()}
    medians = {norm: _median(x) for norm, x in spread.items()}
    return Distance(
        **{norm: _mean(values) for norm, values in fooled.items()},
        **{
            f"median_{norm}": value
            for norm, value in medians.items()
            if value is not None and np.isfinite(value)
        },
    )


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if values.size else None


def _median(values: np.ndarray) -> float | None:
    return float(np.median(values)) if values.size else None
