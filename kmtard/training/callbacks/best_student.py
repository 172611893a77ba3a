"""Save the best student, together with a teacher that learns with it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras


class BestStudent(keras.callbacks.Callback):
    """Saves the trained networks whenever a metric is larger than in all epochs before.

    Unlike `ModelCheckpoint`, it keeps the best score when a run is resumed, because
    `state` is saved in the checkpoint.

    Args:
        path: file for the student, ending in `.keras` or `.weights.h5`. A teacher that
            learns is saved in the same folder under its role, such as
            `adv_teacher.keras`.
        replace: `replace(temporary, path)` moves a finished temporary file to `path`,
            so that an incomplete file is never visible.
        monitor: name of the metric in the logs of an epoch.

    Attributes:
        state: `{"score": float | None, "epoch": int | None}`, epochs counted from 1.
    """

    def __init__(
        self,
        path: Path,
        replace: Callable[[Path, Path], None],
        monitor: str = "val_w_robust_accuracy",
    ) -> None:
        super().__init__()
        self.path = path
        self.replace = replace
        self.monitor = monitor
        self.state: dict[str, Any] = {"score": None, "epoch": None}

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Save the networks if this epoch was evaluated and is the best so far."""
        score = (logs or {}).get(self.monitor)
        best = self.state["score"]
        if score is None or not score > (-math.inf if best is None else best):
            return
        for role, network in self.model.trained_networks.items():
            self._save(network, self._path_of(role))
        self.state = {"score": float(score), "epoch": epoch + 1}

    def restore(self, model: Any) -> None:
        """Load the best weights into the networks that a model trains.

        Args:
            model: the method. It need not have run `fit`.
        """
        for role, network in model.trained_networks.items():
            network.load_weights(self._path_of(role))

    def _save(self, network: Any, path: Path) -> None:
        temporary = path.with_name(f".tmp-{path.name}")
        if path.name.endswith(".weights.h5"):
            network.save_weights(temporary)
        else:
            network.save(temporary)
        self.replace(temporary, path)

    def _path_of(self, role: str) -> Path:
        if role == "student":
            return self.path
        weights = self.path.name.endswith(".weights.h5")
        return self.path.with_name(f"{role}{'.weights.h5' if weights else '.keras'}")
