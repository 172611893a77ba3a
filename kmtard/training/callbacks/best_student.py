"""Save the best student, together with a teacher that learns with it."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import keras

from kmtard.runs.intact import check_intact, seal_weights
from kmtard.training.checks import non_finite


class BestStudent(keras.callbacks.Callback):
    """Saves the trained networks whenever a metric is larger than in all epochs before.

    Networks with a weight or a moving average of NaN or inf are never saved.

    Unlike `ModelCheckpoint`, it keeps the best score when a run is resumed, because
    `state` is saved in the checkpoint.

    Args:
        path: file for the student, ending in `.keras` or `.weights.h5`. A teacher that
            learns is saved in the same folder under its role, such as
            `adv_teacher.keras`.
        replaced: `with replaced(path) as temporary` moves a finished temporary file to
            `path`, so that an incomplete file is never visible.
        monitor: name of the metric in the logs of an epoch.

    Attributes:
        state: `{"score": float | None, "epoch": int | None}`, epochs counted from 1.
    """

    def __init__(
        self,
        path: Path,
        replaced: Callable[[Path], AbstractContextManager[Path]],
        monitor: str = "val_w_robust_accuracy",
    ) -> None:
        super().__init__()
        self.path = path
        self.replaced = replaced
        self.monitor = monitor
        self.state: dict[str, Any] = {"score": None, "epoch": None}

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Save the networks if this epoch was evaluated and is the best so far."""
        score = (logs or {}).get(self.monitor)
        best = self.state["score"]
        if score is None or not score > (-math.inf if best is None else best):
            return
        networks = self.model.trained_networks
        if non_finite(v for each in networks.values() for v in each.variables):
            return
        for role, network in networks.items():
            self._save(network, self._path_of(role))
        self.state = {"score": float(score), "epoch": epoch + 1}

    def restore(self, model: Any) -> None:
        """Load the best weights into the networks that a model trains.

        Args:
            model: the method. It need not have run `fit`.
        """
        self.check(model)
        for role, network in model.trained_networks.items():
            network.load_weights(self._path_of(role))

    def check(self, model: Any) -> None:
        """Check that the files of the best networks exist and are undamaged.

        Raises:
            RunError: a file is missing or damaged. The text says what to do.
        """
        if self.state["score"] is None:
            return
        for role in model.trained_networks:
            check_intact(
                self._path_of(role),
                f"It holds the network of the best epoch, {self.state['epoch']}. Put a "
                "copy of it in its place, or start the recipe again.",
            )

    def _save(self, network: Any, path: Path) -> None:
        with self.replaced(path) as temporary:
            if path.name.endswith(".weights.h5"):
                network.save_weights(temporary)
                seal_weights(temporary)
            else:
                network.save(temporary)

    def _path_of(self, role: str) -> Path:
        if role == "student":
            return self.path
        weights = self.path.name.endswith(".weights.h5")
        return self.path.with_name(f"{role}{'.weights.h5' if weights else '.keras'}")
