"""Keep the best student."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras


class BestStudent(keras.callbacks.Callback):
    """Save `model.student` whenever a metric is strictly larger than ever before.

    Unlike `ModelCheckpoint`, `state` remembers the best score over a resume.

    Args:
        path: of the file to write, a `.keras` or `.weights.h5`.
        replace: moves a finished temporary file to `path` so that no half-written
            file is ever seen: `replace(temporary, path)`.
        monitor: name in the epoch's logs.

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
        """Save if this epoch was evaluated and is the best."""
        score = (logs or {}).get(self.monitor)
        best = self.state["score"]
        if score is None or not score > (-math.inf if best is None else best):
            return
        temporary = self.path.with_name(f".tmp-{self.path.name}")
        if self.path.name.endswith(".weights.h5"):
            self.model.student.save_weights(temporary)
        else:
            self.model.student.save(temporary)
        self.replace(temporary, self.path)
        self.state = {"score": float(score), "epoch": epoch + 1}
