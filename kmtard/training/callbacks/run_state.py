"""Checkpoints with everything that a run needs to continue bit for bit."""

from __future__ import annotations

import io
import json
import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from kmtard.data.arrays import open_arrays
from kmtard.runs.files import make_folder
from kmtard.training.checks import non_finite

FORMAT = 1
NAME = re.compile(r"\d{10,}\.npz", re.ASCII)


class CheckpointError(ValueError):
    """A checkpoint does not fit the model or cannot be read."""


class RunState(keras.callbacks.Callback):
    """Saves a checkpoint at the end of each epoch, even if a stop cut it short.

    One file holds the values of all variables except those of frozen networks: student
    and teachers that learn, optimizer, averages of BatchNorm, balance, random seeds,
    step count and the running averages of the logs. It also holds the `state` of other
    callbacks. Keras's `save_weights` does not save seeds and averages, and its
    `BackupAndRestore` does not save the position inside an epoch.

    Args:
        folder: folder for the files. They are named by their steps, such as
            `0000000120.npz`. Links, folders and files with other
            names are not touched.
        write: `write(path, data)` replaces a file in one step.
        steps_per_epoch: batches in a complete epoch.
        stateful: name -> callback whose `state` is saved too, as JSON.
        keep: number of newest files to keep. With at least 2, one damaged file does
            not lose the run.
        stop_if_not_finite: whether an epoch with a loss or weights of NaN or inf ends
            the training. Weights that are not finite are never saved.
        warn: called with a text if a damaged checkpoint is skipped for an older one.
    """

    def __init__(
        self,
        folder: Path,
        write: Callable[[Path, bytes], None],
        steps_per_epoch: int,
        stateful: Mapping[str, Any] | None = None,
        keep: int = 2,
        stop_if_not_finite: bool = True,
        warn: Callable[[str], None] = lambda text: None,
    ) -> None:
        super().__init__()
        self.folder = folder
        self.write = write
        self.steps_per_epoch = steps_per_epoch
        self.stateful = dict(stateful or {})
        self.keep = keep
        self.stop_if_not_finite = stop_if_not_finite
        self.warn = warn
        self._averages: list[np.ndarray] | None = None

    def restore(self, model: Any) -> int:
        """Load the newest readable checkpoint into a built and compiled model.

        Returns:
            The number of steps taken; 0 if there is no checkpoint.

        Raises:
            CheckpointError: there are checkpoints but none can be used, for the reasons
                in the text, or the folder is a link or not a folder.
        """
        reasons = []
        for path in reversed(self._points()):
            try:
                arrays, meta = _read(path)
                groups = {
                    name: _fitting(arrays, name, variables)
                    for name, variables in _groups(model).items()
                }
            except CheckpointError as error:
                reasons.append(f"{path}: {error}")
                continue
            for name, variables in _groups(model).items():
                for variable, value in zip(variables, groups[name], strict=True):
                    variable.assign(value)
            for name, callback in self.stateful.items():
                callback.state = meta["callbacks"][name]
            self._averages = groups["averages"]
            if reasons:
                damaged = "\n  ".join(reasons)
                self.warn(f"continues from the older {path}. Not used:\n  {damaged}")
            return int(meta["step"])
        if reasons:
            raise CheckpointError(
                "No checkpoint of this run can be used. Start a new run.\n  "
                + "\n  ".join(reasons)
            )
        return 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Restore the averages of a resumed epoch, which Keras has just reset."""
        del epoch, logs
        if self._averages is not None and self._place:
            averages = _groups(self.model)["averages"]
            for variable, value in zip(averages, self._averages, strict=True):
                variable.assign(value)
        self._averages = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Save a checkpoint.

        Raises:
            FloatingPointError: the loss or a weight is not finite. Nothing is saved, so
                that the last good checkpoint is kept.
        """
        loss = (logs or {}).get("loss", 0.0)
        broken = non_finite(self.model.trainable_variables)
        if self.stop_if_not_finite and (broken or not math.isfinite(loss)):
            count = len(self.model.trainable_variables)
            raise FloatingPointError(
                f"Expected finite numbers. After epoch {epoch + 1} the loss is {loss}, "
                f"and {len(broken)} of {count} weight arrays contain values that are "
                "not finite. The checkpoint of the previous epoch is kept. Lower "
                "optimizer.learning_rate, or check the data and the teachers. With "
                'runtime.on_non_finite = "continue", the run would continue.'
            )
        if not broken:
            self.save()

    def save(self) -> Path:
        """Write a checkpoint of the model's present state, and delete old ones.

        Raises:
            CheckpointError: the folder is a link.
        """
        self._refuse_link()
        step = int(self.model.steps_taken.value)
        arrays = {
            f"{name}/{index:05d}": _array(variable)
            for name, variables in _groups(self.model).items()
            for index, variable in enumerate(variables)
        }
        states = {name: callback.state for name, callback in self.stateful.items()}
        meta = {"format": FORMAT, "step": step, "callbacks": states}
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, meta=np.array(json.dumps(meta)), **arrays)
        make_folder(self.folder)
        path = self.folder / f"{step:010d}.npz"
        self.write(path, buffer.getvalue())
        # A file with more steps can exist if an older checkpoint was resumed.
        files = [p for p in self._points() if p.is_file() and not p.is_symlink()]
        for old in files[: -self.keep]:
            if old != path:
                old.unlink(missing_ok=True)
        return path

    def _points(self) -> list[Path]:
        """Return everything that is named like a checkpoint, oldest first."""
        self._refuse_link()
        try:
            names = [name for name in os.listdir(self.folder) if NAME.fullmatch(name)]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CheckpointError(
                f"Expected a folder of checkpoints: {self.folder}: {error.strerror}."
            ) from error
        return [self.folder / name for name in sorted(names, key=_step_of)]

    def _refuse_link(self) -> None:
        if self.folder.is_symlink():
            raise CheckpointError(
                f"Expected a folder of checkpoints, received a link: {self.folder}. "
                "Its target is neither read nor changed. Delete the link, or replace "
                "it with its target."
            )

    @property
    def _place(self) -> int:
        """Number of completed batches in the current epoch."""
        return int(self.model.steps_taken.value) % self.steps_per_epoch


def _groups(model: Any) -> dict[str, list]:
    frozen = {
        id(variable)
        for network in model.frozen_networks.values()
        for variable in network.variables
    }
    return {
        "trainable": list(model.trainable_variables),
        "non_trainable": [
            v for v in model.non_trainable_variables if id(v) not in frozen
        ],
        "optimizer": list(model.optimizer.variables),
        "averages": list(model.metrics_variables),
    }


def _step_of(name: str) -> int:
    return int(name.partition(".")[0])


def _array(variable: Any) -> np.ndarray:
    value = ops.convert_to_numpy(variable.value)
    # npz does not support bfloat16. float32 represents all of its values exactly.
    return value.astype("float32") if variable.dtype == "bfloat16" else value


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    if path.is_symlink():
        raise CheckpointError("is a link, which is not followed")
    try:
        with open_arrays(path) as loaded:
            arrays = dict(loaded)
        meta = json.loads(str(arrays.pop("meta")))
    except (OSError, ValueError, KeyError, RecursionError) as error:
        raise CheckpointError(f"cannot be read ({error})") from error
    if meta.get("format") != FORMAT:
        raise CheckpointError(
            f"expected format {FORMAT}, received {meta.get('format')!r}; a newer "
            "version of kmtard wrote it, update kmtard"
        )
    return arrays, meta


def _fitting(arrays: dict, group: str, variables: list) -> list[np.ndarray]:
    values = [arrays[name] for name in sorted(arrays) if name.startswith(f"{group}/")]
    received = [value.shape for value in values]
    expected = [tuple(variable.shape) for variable in variables]
    if received != expected:
        raise CheckpointError(
            f"its {group} variables do not fit the model: expected the shapes "
            f"{expected}, received {received}. Was the recipe changed?"
        )
    return values
