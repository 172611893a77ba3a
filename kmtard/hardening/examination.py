"""Look at a user's model and at its answers for the user's images, before training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kmtard.data.pipeline import DataSet
from kmtard.networks import own_model
from kmtard.networks.interface import (
    TRIED_IMAGES,
    UNIT,
    Interface,
    interface_of,
    measured_range,
)
from kmtard.runs.files import RunError

SEEN_IMAGES = 1000
# A model that is hardly better than guessing was made for other images or classes.
NEAR_CHANCE = 1.5
CLEARLY_BETTER = 0.2


@dataclass(frozen=True)
class Examination:
    """What was found out about a model.

    Attributes:
        interface: what the model takes and returns.
        input_range: (low, high) of its images.
        accuracy: share of training images that it classifies correctly, in [0, 1].
        seen: number of these images.
        lines: all of it in words, for the user.
    """

    interface: Interface
    input_range: tuple[float, float]
    accuracy: float
    seen: int
    lines: tuple[str, ...]


def examine(
    path: Path, data: DataSet, input_range: tuple[float, float] | None = None
) -> Examination:
    """Examine the model in a file.

    Args:
        path: the `.keras` file.
        data: the images, of the size that the model takes.
        input_range: (low, high) of the model's images; None to find it.

    Raises:
        RunError: the model cannot be used for these images and classes, or is hardly
            better than guessing. The text names likely causes.
    """
    try:
        model = own_model.load(path)
        found = interface_of(model)
        part = data.train.limit(TRIED_IMAGES)
        measured = input_range or found.input_range
        if measured is None:
            images = part.images[:]
            if found.channels_first:
                images = images.transpose(0, 3, 1, 2)
            measured = measured_range(model, images, part.labels)
        chosen = measured or UNIT
        network = own_model.adapted(
            model, input_shape=data.input_shape, input_range=chosen
        )
    except ValueError as error:
        raise RunError(str(error)) from error
    seen = data.train.limit(SEEN_IMAGES)
    logits = _logits(network, seen.images)
    if logits.shape[1] != data.num_classes:
        raise RunError(
            f"Expected a model of the {data.num_classes} classes of the images, "
            f"{', '.join(data.class_names)}. Received: {path} with {logits.shape[1]} "
            "outputs. Add or remove folders of classes."
        )
    accuracy = float(np.mean(logits.argmax(-1) == seen.labels))
    _check_accuracy(path, data, logits.argmax(-1), seen.labels, accuracy, chosen)
    why = "as asked" if input_range else found.evidence
    if not why:
        why = (
            "with which it is right most often" if measured else "no layer scales them"
        )
    lines = (*_lines(found, chosen, why, data), _answer(accuracy, len(seen)))
    return Examination(found, chosen, accuracy, len(seen), lines)


def _logits(network: Any, images: Any, batch: int = 128) -> np.ndarray:
    pieces = [
        network.predict_on_batch(images[i : i + batch].astype("float32") / 255)
        for i in range(0, len(images), batch)
    ]
    return np.concatenate(pieces)


def _check_accuracy(
    path: Path,
    data: DataSet,
    predictions: np.ndarray,
    labels: np.ndarray,
    accuracy: float,
    chosen: tuple[float, float],
) -> None:
    """Refuse a model that is hardly better than guessing.

    Raises:
        RunError: says whether another order of the classes would fit.
    """
    from scipy.optimize import linear_sum_assignment

    classes = data.num_classes
    table = np.zeros((classes, classes), int)
    np.add.at(table, (predictions, labels), 1)
    outputs, folders = linear_sum_assignment(-table)
    best = table[outputs, folders].sum() / len(labels)
    names = data.class_names or tuple(map(str, range(classes)))
    if best - accuracy >= CLEARLY_BETTER and best >= 0.5:
        order = ",".join(names[folder] for folder in folders)
        raise RunError(
            f"Expected the outputs of {path} to be in the order of the classes, "
            f"{', '.join(names)}. Received: {100 * accuracy:.1f} % of {len(labels)} "
            f"training images right; in another order it would be {100 * best:.1f} %. "
            f"Give --classes {order}"
        )
    if accuracy < min(NEAR_CHANCE / classes, 0.6 if classes == 2 else 1.0):
        raise RunError(
            f"Expected a model that is trained for these images. Received: {path}, "
            f"which is right on {100 * accuracy:.1f} % of {len(labels)} training "
            f"images of {classes} classes, hardly more than by guessing. It was given "
            f"values from {chosen[0]:g} to {chosen[1]:g}: if it takes others, give "
            "--input-range LOW,HIGH. Other causes: other images, other classes, or "
            "preprocessing outside of the model."
        )


def _lines(
    found: Interface, chosen: tuple[float, float], why: str, data: DataSet
) -> list[str]:
    height, width, channels = data.input_shape
    place = "first" if found.channels_first else "last"
    names = ", ".join(data.class_names)
    outputs = {
        "softmax": "probabilities, from a softmax",
        "sigmoid": "one probability, from a sigmoid",
        "logits": "logits",
        "unknown": "probabilities or logits; its outputs show which",
    }[found.ending]
    parts = [
        f"{found.dropout} layers of dropout or noise"
        if found.dropout
        else "no dropout",
        f"augmentation by {', '.join(found.augmentation)}"
        if found.augmentation
        else "no augmentation",
        ", ".join(found.normalization) or "no normalization of features",
    ]
    return [
        f"images: {height} x {width}, {channels} channels, {place}; values from "
        f"{chosen[0]:g} to {chosen[1]:g} ({why})",
        f"output: {outputs}; {data.num_classes} classes: {names}",
        f"inside: {'; '.join(parts)}; {found.weights:,} weights, {found.precision}",
    ]


def _answer(accuracy: float, seen: int) -> str:
    return f"it is right on {100 * accuracy:.1f} % of {seen} training images"


Tell = Callable[[str], None]
"""Shows a line to the user."""
