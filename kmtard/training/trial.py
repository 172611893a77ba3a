"""Measure one training of a recipe on generated images: its memory and its speed."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kmtard import registry
from kmtard.data.pipeline import DataSet, Split
from kmtard.recipe import Recipe
from kmtard.registry.roles import TEACHERS, Role
from kmtard.runs import EventWriter
from kmtard.runs.files import write_atomic
from kmtard.training.build import build_method, build_network
from kmtard.training.callbacks import RunState

# The first step includes compilation.
STEPS = 3

EVENTS, METRICS = 100, 20


def generated(recipe: Recipe, shape: tuple[int, int, int], classes: int) -> DataSet:
    """Return the random images that a trial needs.

    Args:
        recipe: the resolved recipe, with the batch size.
        shape: `(height, width, channels)` of an image.
        classes: number of classes.
    """
    count = STEPS * recipe.data.batch_size
    pixels = np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)
    split = Split(pixels, np.arange(count, dtype=np.int32) % classes)
    return DataSet(recipe.data.name, split, split, classes)


@dataclass(frozen=True)
class Pace:
    """Seconds for the first batch, including compilation, and for a later batch."""

    first: float
    later: float

    def total(self, batches: int) -> float:
        """Return the seconds for a number of batches."""
        return self.first + max(0, batches - 1) * self.later

    def __str__(self) -> str:
        return f"{self.later:.3g} s (the first, with compilation: {self.first:.3g} s)"


def pace_of(run: Callable[[Any], object]) -> Pace:
    """Measure the batches of a call of `fit` or `evaluate`.

    Args:
        run: makes the call with the callback that it is given.
    """
    ends = [time.perf_counter()]

    def look(batch: int, logs: dict[str, Any]) -> None:
        del batch
        float(logs["loss"])  # waits for the device
        ends.append(time.perf_counter())

    # As keyword arguments, because LambdaCallback has no parameter for test batches. It
    # sets them as attributes.
    run(keras.callbacks.LambdaCallback(on_train_batch_end=look, on_test_batch_end=look))
    first, *later = (after - before for before, after in pairwise(ends))
    return Pace(first, sum(later) / len(later))


class Trial:
    """The training of one network of a recipe, ready to be measured.

    Args:
        recipe: the resolved recipe.
        role: role of the network to train.
        data: images from `generated`.

    Attributes:
        parameters: role -> number of trainable values, including the teachers.
    """

    def __init__(self, recipe: Recipe, role: Role, data: DataSet) -> None:
        self.recipe = recipe
        self.training = recipe.training(role)
        self.images = np.asarray(data.train.images, "float32") / 255
        self.labels = data.train.labels
        taken = registry.positional("methods", self.training.method)
        self.teachers = {
            each: _built(recipe, each, data, "float32")
            for each in TEACHERS
            if each in taken
        }
        self.network = _built(recipe, role, data, recipe.runtime.precision)
        # Before the method freezes the teachers.
        networks = {**self.teachers, role: self.network}
        self.parameters = {each: parameters(net) for each, net in networks.items()}
        self.model, self.driving = build_method(
            recipe, self.training, self.network, self.teachers
        )

    def memory(self) -> int | None:
        """Estimate the memory that a training step needs at most, in bytes.

        The estimate is the sum of:

        - 4 bytes for each weight of all networks, and 8 more for each trained weight,
          for its gradient and its velocity.
        - 4 bytes (2 under mixed precision) for each output value of each layer of the
          trained network, times the batch size and the number of training passes,
          because their gradients are computed together.
        - 4 bytes for each such value of a teacher that learns, which is float32.
        - the two largest layer outputs of a frozen teacher.

        Compilers keep fewer values, while libraries need additional memory. PyTorch on
        a CPU was measured to need 1.3 to 1.5 times as much.

        Returns:
            The estimate; None if a network is not a functional Keras model, because the
            outputs of its layers are then unknown.
        """
        own = _outputs(self.network)
        learning = self.model.trained_networks
        outputs = {role: _outputs(each) for role, each in self.teachers.items()}
        if not own or not all(outputs.values()):
            return None
        networks = (self.network, *self.teachers.values())
        weights = sum(int(each.count_params()) for each in networks)
        trained = sum(map(parameters, learning.values()))
        size = 4 if self.recipe.runtime.precision == "float32" else 2
        values = size * max(1, len(self.model.passes)) * sum(own)
        values += sum(4 * sum(outputs[role]) for role in outputs if role in learning)
        frozen = [each for role, each in outputs.items() if role not in learning]
        transient = max((4 * sum(sorted(each)[-2:]) for each in frozen), default=0)
        activations = self.recipe.data.batch_size * (values + transient)
        return 4 * weights + 8 * trained + activations

    def step(self) -> Pace:
        """Measure steps of the last epoch, when all terms of a method are active."""
        epochs = self.training.schedule.epochs
        return pace_of(
            lambda watch: self.model.fit(
                self.images,
                self.labels,
                batch_size=self.recipe.data.batch_size,
                initial_epoch=epochs - 1,
                epochs=epochs,
                shuffle=False,
                callbacks=[watch, *self.driving],
                verbose=0,
            )
        )

    def evaluation(self) -> Pace:
        """Measure batches of the evaluation that is made after an epoch."""
        return pace_of(
            lambda watch: self.model.evaluate(
                self.images,
                self.labels,
                batch_size=self.recipe.data.batch_size,
                callbacks=[watch],
                verbose=0,
            )
        )

    def checkpoint(self) -> float:
        """Return the seconds that the checkpoint after an epoch takes."""
        with tempfile.TemporaryDirectory() as folder:
            state = RunState(Path(folder) / "checkpoints", write_atomic, STEPS)
            state.set_model(self.model)
            state.save()  # a first copy of each variable takes longer
            began = time.perf_counter()
            state.save()
            return time.perf_counter() - began

    def event(self) -> float:
        """Return the seconds that an event with the metrics of an epoch takes."""
        metrics = {f"metric_{number}": number / 7 for number in range(METRICS)}
        with tempfile.TemporaryDirectory() as folder:
            writer = EventWriter(Path(folder) / "events.jsonl")
            began = time.perf_counter()
            for step in range(EVENTS):
                writer.write("step", step=step, metrics=metrics)
            return (time.perf_counter() - began) / EVENTS


def parameters(network: Any) -> int:
    """Return the number of trainable values of a network, without moving averages."""
    return sum(int(math.prod(v.shape)) for v in network.trainable_variables)


def _built(recipe: Recipe, role: Role, data: DataSet, precision: str) -> Any:
    keras.mixed_precision.set_dtype_policy(precision)
    return build_network(recipe, role, data)


def _outputs(network: Any) -> list[int]:
    """Return the number of output values of each layer per image; [] if unknown."""
    try:
        return [int(math.prod(layer.output.shape[1:])) for layer in network.layers]
    except (AttributeError, TypeError, ValueError):
        return []
