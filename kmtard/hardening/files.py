"""The user's model with the weights of a student, as a Keras file of the same kind."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kmtard.networks import own_model
from kmtard.networks.interface import interface_of
from kmtard.runs.files import RunError, replaced

ALIKE = 0.99
"""Share of images that a student and the written model must classify alike.

They differ only by rounding, such as of weights with 16 bits.
"""


class Pair:
    """A model of the user's, and the network that was made of it.

    Args:
        path: the model's `.keras` file.
        shape: `(height, width, channels)` of an image.
        input_range: (low, high) of the model's images.

    Attributes:
        network: from images in [0, 1] to logits, as the student is.
        start: the weights of the file, as arrays.

    Raises:
        RunError: the file cannot be read.
    """

    def __init__(
        self, path: Path, shape: tuple[int, int, int], input_range: tuple[float, float]
    ) -> None:
        self.path, self.input_range = path, input_range
        try:
            self._model = own_model.load(path)
            self.network = own_model.adapted(
                self._model, input_shape=shape, input_range=input_range
            )
        except ValueError as error:
            raise RunError(str(error)) from error
        self.start = self._arrays(self.network)

    @staticmethod
    def _arrays(network: Any) -> list[np.ndarray]:
        return [keras.ops.convert_to_numpy(each) for each in network.weights]

    def become(self, student: Any) -> None:
        """Take the weights of a student.

        Raises:
            RunError: the student is another network.
        """
        arrays = self._arrays(student)
        if [each.shape for each in arrays] != [each.shape for each in self.start]:
            raise RunError(
                f"Expected a student with the network of {self.path}. Received: one "
                "with other weights. Was the file replaced during the run?"
            )
        self.network.set_weights(arrays)

    def mix(self, arrays: Sequence[np.ndarray], share: float) -> None:
        """Take weights between those of the file (share 0) and others (share 1)."""
        self.network.set_weights(
            [
                (start + share * (end - start)).astype(start.dtype)
                if np.issubdtype(start.dtype, np.floating)
                else start
                for start, end in zip(self.start, arrays, strict=True)
            ]
        )

    def arrays(self) -> list[np.ndarray]:
        """Return the present weights of the network."""
        return self._arrays(self.network)

    def write(self, target: Path, images: np.ndarray) -> None:
        """Write the model with the present weights, with the signature that it had.

        Args:
            target: a `.keras` file.
            images: float32 images in [0, 1], by which the written model is compared.

        Raises:
            RunError: the model cannot be written, or answers differently.
        """
        # Read anew: with its own dtypes, and compiled if it was.
        model = _as_saved(self.path)
        model.set_weights([keras.ops.convert_to_numpy(w) for w in self._model.weights])
        try:
            with replaced(target) as temporary:
                model.save(temporary)
        except (OSError, ValueError) as error:
            raise RunError(f"Cannot write {target}: {error}") from error
        self._check(target, images)

    def _check(self, target: Path, images: np.ndarray) -> None:
        written = keras.models.load_model(target, compile=False)
        low, high = self.input_range
        scaled = images * (high - low) + low
        if interface_of(written).channels_first:
            scaled = scaled.transpose(0, 3, 1, 2)
        inputs = getattr(written, "inputs", None) or [None]
        dtype = getattr(inputs[0], "dtype", "float32")
        if not keras.backend.is_float_dtype(dtype):
            scaled = np.round(scaled)
        answers = np.asarray(written.predict(scaled, verbose=0), "float32")
        if answers.shape[1] == 1:
            limit = 0.5 if (0 <= answers).all() and (answers <= 1).all() else 0.0
            answers = np.concatenate([2 * limit - answers, answers], axis=1)
        logits = np.asarray(self.network.predict_on_batch(images), "float32")
        alike = float(np.mean(answers.argmax(-1) == logits.argmax(-1)))
        if alike < ALIKE:
            raise RunError(
                f"Expected {target} to classify images as the student does. Received: "
                f"{100 * alike:.1f} % of {len(images)} images alike. Please report "
                "this, with the layers of the model."
            )


def _as_saved(path: Path) -> Any:
    """Return the model in a file, compiled as it was, if that is still possible."""
    with suppress(Exception):  # a loss or metric of the user's own may be unknown
        return keras.models.load_model(path)
    return keras.models.load_model(path, compile=False)
