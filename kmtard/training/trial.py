"""One training of a recipe tried on generated images: its memory and its pace."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import keras
import numpy as np

from kmtard import registry
from kmtard.data.pipeline import DataSet, Split
from kmtard.recipe import Recipe
from kmtard.registry.roles import TEACHERS, Role
from kmtard.training.build import build_method, build_network

# The first has the compilation.
STEPS = 3


def generated(recipe: Recipe, shape: tuple[int, int, int], classes: int) -> DataSet:
    """Return random images, as many as a trial needs.

    Args:
        recipe: says how many a batch has.
        shape: `(height, width, channels)` of an image.
        classes: number of classes.
    """
    count = STEPS * recipe.data.batch_size
    pixels = np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)
    split = Split(pixels, np.arange(count, dtype=np.int32) % classes)
    return DataSet(recipe.data.name, split, split, classes)


@dataclass(frozen=True)
class Pace:
    """Seconds of the first batch, compilation included, and of a later one."""

    first: float
    later: float

    def total(self, batches: int) -> float:
        """Return the seconds of so many batches."""
        return self.first + max(0, batches - 1) * self.later

    def __str__(self) -> str:
        return f"{self.later:.3g} s (the first, with compilation, {self.first:.3g} s)"


def pace_of(run: Callable[[Any], object]) -> Pace:
    """Measure the batches of a call of Keras.

    Args:
        run: is given the callback that looks at the clock.
    """
    ends = [time.perf_counter()]

    def look(batch: int, logs: dict[str, Any]) -> None:
        del batch
        float(logs["loss"])  # waits for the device
        ends.append(time.perf_counter())

    # As attributes, since Keras has no argument for those of the evaluation.
    run(keras.callbacks.LambdaCallback(on_train_batch_end=look, on_test_batch_end=look))
    first, *later = (after - before for before, after in pairwise(ends))
    return Pace(first, sum(later) / len(later))


class Trial:
    """The training of one network of a recipe, ready to be measured.

    Args:
        recipe: resolved.
        role: the network to train.
        data: the images, as `generated` makes them.

    Attributes:
        parameters: role -> trained values, of the teachers too.
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
        """Estimate the bytes that a training step needs at most.

        4 bytes for each weight of all networks, and 8 more for each that is trained,
        for its gradient and its velocity; 4 (under mixed precision 2) bytes for each
        value that a layer of the trained network puts out, times the images of a batch
        and the method's training passes, whose gradients are computed together; 4 bytes
        for each such value of a teacher that learns, which is float32; and the two
        largest outputs within a frozen teacher. Compilers keep fewer values, and
        libraries take working space of their own: PyTorch on a CPU was seen to need 1.3
        to 1.5 times as much.

        Returns:
            None where the layers' outputs are not known: no functional Keras model.
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
        """Measure steps of the last epoch, where a method's every term is at work."""
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
        """Measure batches of an evaluation, such as chooses the best epoch."""
        return pace_of(
            lambda watch: self.model.evaluate(
                self.images,
                self.labels,
                batch_size=self.recipe.data.batch_size,
                callbacks=[watch],
                verbose=0,
            )
        )


def parameters(network: Any) -> int:
    """Return how many values of a network are trained: not its moving averages."""
    return sum(int(math.prod(v.shape)) for v in network.trainable_variables)


def _built(recipe: Recipe, role: Role, data: DataSet, precision: str) -> Any:
    keras.mixed_precision.set_dtype_policy(precision)
    return build_network(recipe, role, data)


def _outputs(network: Any) -> list[int]:
    """Return how many values each layer puts out for an image, [] if not known."""
    try:
        return [int(math.prod(layer.output.shape[1:])) for layer in network.layers]
    except (AttributeError, TypeError, ValueError):
        return []
