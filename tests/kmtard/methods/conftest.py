"""The smallest networks, data and models that all tests of methods share."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from kmtard.attacks import PGD
from kmtard.methods.multi_teacher import MultiTeacherDistiller
from kmtard.methods.natural import Natural
from kmtard.methods.trades import TRADES
from kmtard.optimizers import L2SGD

SHAPE, CLASSES, COUNT = (4, 4, 1), 3, 8


@keras.saving.register_keras_serializable(package="kmtard_tests")
def wavy_start(x: Any) -> Any:
    """A start that no random numbers of a backend can make differ."""
    return x + 0.001 * ops.sin(1000 * x)


def network(seed: int = 1, classes: int = CLASSES, built: bool = True) -> Any:
    keras.utils.set_random_seed(seed)
    stack = [
        layers.Flatten(),
        layers.Dense(8),
        layers.BatchNormalization(momentum=0.9),
        layers.ReLU(),
        layers.Dense(classes, dtype="float32"),
    ]
    return keras.Sequential([layers.Input(SHAPE), *stack] if built else stack)


def attack(**kwargs: Any) -> PGD:
    return PGD(**{"steps": 2, "start": wavy_start, **kwargs})


def model(method: str = "multi", student: Any = None, **kwargs: Any) -> Any:
    """A method on tiny networks, its attacks of two steps."""
    student = student or network()
    kwargs = {"attack": attack(), "evaluation_attack": attack(), **kwargs}
    if method == "natural":
        return Natural(student, **kwargs)
    if method == "trades":
        return TRADES(student, **kwargs)
    teachers = [network(2), network(3)]
    for scale, teacher in zip((3.0, 1.0), teachers, strict=True):
        # Unequal scales keep the entropies apart, so that EBB has a direction.
        teacher.set_weights([scale * w for w in teacher.get_weights()])
    return MultiTeacherDistiller(student, *teachers, **kwargs)


def compiled(method: str = "multi", eager: bool = True, **kwargs: Any) -> Any:
    made = model(method, **kwargs)
    made.compile(L2SGD(0.1, momentum=0.9, weight_decay=2e-4), run_eagerly=eager)
    return made


def fit(fitted: Any, *data: Any, **kwargs: Any) -> dict[str, list[float]]:
    """Train in batches of one size, which keeps the compilers' work small."""
    kwargs = {"batch_size": 4, "verbose": 0, "shuffle": False, **kwargs}
    return fitted.fit(*data, **kwargs).history


def evaluate(judged: Any, *data: Any, **kwargs: Any) -> dict[str, float]:
    kwargs = {"batch_size": 4, "verbose": 0, "return_dict": True, **kwargs}
    return judged.evaluate(*data, **kwargs)


def values(variables: Any) -> list[np.ndarray]:
    return [np.array(ops.convert_to_numpy(v.value)) for v in variables]


@pytest.fixture(scope="session")
def tiny() -> SimpleNamespace:
    rng = np.random.default_rng(0)
    return SimpleNamespace(
        x=rng.random((COUNT, *SHAPE), dtype="float32"),
        y=rng.integers(0, CLASSES, COUNT),
        classes=CLASSES,
        shape=SHAPE,
        wavy_start=wavy_start,
        network=network,
        attack=attack,
        model=model,
        compiled=compiled,
        fit=fit,
        evaluate=evaluate,
        values=values,
    )
