"""From the batches of an attack to the figures of a column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from kmtard.evaluation.diagnostics.finding import Finding
from kmtard.evaluation.result import Column, Cost, Distance
from kmtard.evaluation.store import Batch

STAGE = "stage/"
"""Begins the names of the arrays that tell what attacks inside an attack left."""

KEYS = ("success", "queries", "forwards", "backwards", "outside", "linf", "l2")


class Tally:
    """What is kept of the batches of one attack: numbers, no images.

    Args:
        batches: as `Judging` makes them, in their order.
    """

    def __init__(self, batches: Iterable[Batch]) -> None:
        parts: dict[str, list[np.ndarray]] = {key: [] for key in (*KEYS, "seconds")}
        self._stages: dict[str, int] = {}
        self._doubts: list[Finding] = []
        for batch in batches:
            for key, kept in parts.items():
                kept.append(np.atleast_1d(batch[key]))
            for key in batch:
                if key.startswith(STAGE):
                    name = key.removeprefix(STAGE)
                    left = self._stages.get(name, 0)
                    self._stages[name] = left + int(batch[key].sum())
            self._doubts += [Finding(*map(str, each)) for each in batch["doubts"]]
        whole = {k: np.concatenate(v) if v else np.zeros(0) for k, v in parts.items()}
        self.fooled = whole["success"].astype(bool)
        self._whole = whole

    def findings(self, name: str) -> list[Finding]:
        """Return the doubts about an attack, by its name."""
        doubts = [Finding(key, f"{name}: {text}") for key, text in self._doubts]
        if outside := int(self._whole["outside"].sum()):
            text = (
                f"{name}: {outside} images lie outside the attack's ball or [0, 1]. "
                "They count as not fooled."
            )
            doubts.append(Finding("outside-ball", text))
        return doubts

    def column(
        self, indices: np.ndarray, images: int, settings: Mapping[str, Any]
    ) -> Column:
        """Return the outcome for all images, of which `indices` were attacked."""
        robust = np.zeros(images, bool)
        robust[indices] = ~self.fooled
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
        return Column(robust, settings, cost, distance, self._stages or None)


def distances(x: np.ndarray, x_adv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the L_inf and the L2 distance of each image from its adversarial one."""
    change = (x_adv.astype("float64") - x).reshape(len(x), -1)
    return np.abs(change).max(axis=1), np.sqrt((change**2).sum(axis=1))


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if values.size else None


def _median(values: np.ndarray) -> float | None:
    return float(np.median(values)) if values.size else None
