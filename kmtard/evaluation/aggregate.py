"""From the batches of an attack to the figures of a column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from kmtard.evaluation.diagnostics.finding import Finding
from kmtard.evaluation.result import Column
from kmtard.evaluation.store import Batch
from kmtard.runs.results import Cost, Distance

STAGE = "stage/"
"""Begins the names of the arrays that tell what attacks inside an attack left."""

FINDINGS = "doubts"
"""The array with a batch's findings; named by version 0.1."""

PICTURED, PICTURES = "pictured", "pictures"
"""Image numbers (k,) and images uint8 (k, ...) of a batch that are kept as PNG."""

KEYS = ("success", "queries", "forwards", "backwards", "outside", "linf", "l2")


class Aggregate:
    """What is kept of the batches of one attack: numbers, and few images.

    Args:
        batches: as `NetworkEvaluator` makes them, in their order.

    Attributes:
        fooled: bool (attacked images,).
        predictions: int (attacked images,); None if a batch of version 0.1 lacks them.
        pictures: image number -> uint8 image.
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
        """Return the findings about an attack, by its name."""
        found = [Finding(key, f"{name}: {text}") for key, text in self._findings]
        if outside := int(self._whole["outside"].sum()):
            text = (
                f"{name}: {outside} images lie outside the attack's ball or [0, 1]. "
                "They count as not fooled."
            )
            found.append(Finding("outside-ball", text))
        return found

    def column(
        self, indices: np.ndarray, clean: Column | None, settings: Mapping[str, Any]
    ) -> Column:
        """Return the outcome for all images.

        Args:
            indices: int (attacked images,).
            clean: for all images; None if this is the clean column, of all images.
            settings: of the attack.
        """
        robust, predictions = ~self.fooled, self.predictions
        if clean is not None:
            robust = np.zeros(len(clean.robust), bool)
            robust[indices] = ~self.fooled
            if predictions is not None and clean.predictions is not None:
                predictions = clean.predictions.copy()
                predictions[indices] = self.predictions
            else:
                predictions = None
        whole, fooled = self._whole, self.fooled
        cost = Cost(
            queries=_mean(whole["queries"]) or 0.0,
            median_queries=_median(whole["queries"][fooled]),
            max_queries=int(whole["queries"].max(initial=0)),
            forwards=_mean(whole["forwards"]) or 0.0,
            backwards=_mean(whole["backwards"]) or 0.0,
            seconds=float(whole["seconds"].sum()),
        )
        distance = Distance(_mean(whole["linf"][fooled]), _mean(whole["l2"][fooled]))
        stages = self._stages or None
        return Column(robust, settings, cost, distance, stages, predictions)


def distances(x: np.ndarray, x_adv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the L_inf and the L2 distance of each image from its adversarial one."""
    change = (x_adv.astype("float64") - x).reshape(len(x), -1)
    return np.abs(change).max(axis=1), np.sqrt((change**2).sum(axis=1))


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if values.size else None


def _median(values: np.ndarray) -> float | None:
    return float(np.median(values)) if values.size else None
