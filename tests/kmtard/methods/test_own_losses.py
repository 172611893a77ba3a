"""Losses that the student brings itself: regularizers and `add_loss`."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from kmtard import methods, registry
from kmtard.methods.natural import Natural
from tests.kmtard.methods.learning import LearningTeacher

RATE = 0.5


@keras.saving.register_keras_serializable(package="kmtard_tests")
class Sum(layers.Layer):
    """Adds the mean of what it is given to the losses."""

    def call(self, inputs: Any) -> Any:
        self.add_loss(0.25 * ops.mean(inputs))
        return inputs


def network(tiny: SimpleNamespace, kind: str, built: bool = True) -> Any:
    """Layers whose outputs do not depend on how often they are called."""
    keras.utils.set_random_seed(1)
    weights = {"kernel_regularizer": keras.regularizers.L2(RATE)}
    activity = {"activity_regularizer": keras.regularizers.L1(RATE)}
    hidden = layers.Dense(
        4,
        **{"weights": weights, "activity": activity, "both": weights | activity}.get(
            kind, {}
        ),
    )
    stack = [layers.Flatten(), hidden, layers.Dense(tiny.classes)]
    if kind in ("add_loss", "both"):
        stack.insert(1, Sum())
    return keras.Sequential([layers.Input(tiny.shape), *stack] if built else stack)


def terms(student: Any, kind: str, x: np.ndarray) -> tuple[float, float]:
    """Return what counts once and what counts for each pass, by numpy."""
    dense = next(layer for layer in student.layers if isinstance(layer, layers.Dense))
    kernel, bias = (ops.convert_to_numpy(v.value) for v in dense.weights)
    flat = x.reshape(len(x), -1)
    once = RATE * (kernel**2).sum() if kind in ("weights", "both") else 0.0
    each = 0.25 * flat.mean() if kind in ("add_loss", "both") else 0.0
    if kind in ("activity", "both"):
        each += RATE * np.abs(flat @ kernel + bias).sum() / len(x)
    return once, each


@pytest.mark.parametrize(
    ("kind", "eager"),
    [
        *((kind, False) for kind in ("plain", "weights", "activity", "add_loss")),
        *(("both", eager) for eager in (True, False)),
    ],
)
def test_natural_training_is_that_of_keras(
    tiny: SimpleNamespace, kind: str, eager: bool
) -> None:
    own, plain = (network(tiny, kind) for _ in range(2))
    model = Natural(own, attack=tiny.attack(), evaluation_attack=tiny.attack())
    model.compile(keras.optimizers.SGD(0.1), run_eagerly=eager)
    plain.compile(
        keras.optimizers.SGD(0.1),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        run_eagerly=eager,
    )

    for _ in range(2):
        logs = model.train_on_batch(tiny.x, tiny.y, return_dict=True)
        wanted = plain.train_on_batch(tiny.x, tiny.y, return_dict=True)
        assert logs["loss"] == pytest.approx(wanted["loss"], rel=1e-5)
        assert ("regularization_loss" in logs) == (kind != "plain")
    for one, other in zip(*map(tiny.values, (own.weights, plain.weights)), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "attack_bn"),
    [*((name, "eval") for name in registry.METHODS), ("trades", "train")],
)
def test_each_pass_counts_and_no_pass_of_the_attack(
    tiny: SimpleNamespace, name: str, attack_bn: str
) -> None:
    roles = registry.positional("methods", name)
    student = network(tiny, "both")
    # Those of frozen teachers do not count.
    teachers = {role: network(tiny, "both") for role in roles[1:]}
    model, _ = methods.build(
        name,
        student=student,
        **teachers,
        # With a radius of 0, all passes are on the same images.
        attack=tiny.attack(epsilon=0.0, start="clean", steps=3),
        evaluation_attack=tiny.attack(epsilon=0.0, start="clean", steps=3),
        attack_bn=attack_bn,
    )
    model.compile("sgd", run_eagerly=True)
    once, each = terms(student, "both", tiny.x)

    tested = model.test_on_batch(tiny.x, tiny.y, return_dict=True)
    trained = model.train_on_batch(tiny.x, tiny.y, return_dict=True)

    wanted = once + len(model.passes) * each
    assert trained["regularization_loss"] == pytest.approx(wanted, rel=1e-5)
    # A clean and an adversarial one.
    wanted = once + 2 * each
    assert tested["regularization_loss"] == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("method", ("trades", "multi"))
def test_the_term_is_part_of_the_loss(tiny: SimpleNamespace, method: str) -> None:
    models = []
    for kind in ("plain", "both"):
        model = tiny.model(method, student=network(tiny, kind))
        model.compile("sgd")
        models.append(model)
    plain, own = (m.train_on_batch(tiny.x, tiny.y, return_dict=True) for m in models)

    assert own["regularization_loss"] > 0
    assert own["loss"] == pytest.approx(
        plain["loss"] + own["regularization_loss"], rel=1e-5
    )
    assert own["robust_accuracy"] == plain["robust_accuracy"]


def test_attack_does_not_see_them(tiny: SimpleNamespace) -> None:
    data = ops.convert_to_tensor(tiny.x), tiny.y
    plain, own = (
        tiny.model("trades", student=network(tiny, kind)).attacked(data, training=True)
        for kind in ("plain", "both")
    )

    for one, other in zip(plain[0], own[0], strict=True):
        np.testing.assert_array_equal(*map(ops.convert_to_numpy, (one, other)))


@pytest.mark.parametrize("eager", (True, False))
def test_of_a_student_that_fit_builds(tiny: SimpleNamespace, eager: bool) -> None:
    model = tiny.model("trades", student=network(tiny, "weights", built=False))
    model.compile(keras.optimizers.SGD(0.0), run_eagerly=eager)

    logs = tiny.fit(model, tiny.x, tiny.y)

    once, _ = terms(model.student, "weights", tiny.x)
    assert logs["regularization_loss"] == [pytest.approx(once, rel=1e-5)]


def test_of_a_teacher_that_learns(tiny: SimpleNamespace) -> None:
    teacher = network(tiny, "weights")
    model = LearningTeacher(tiny.network(), tiny.network(2), teacher)
    model.compile("sgd", run_eagerly=True)
    once, _ = terms(teacher, "weights", tiny.x)

    logs = model.train_on_batch(tiny.x, tiny.y, return_dict=True)

    assert logs["regularization_loss"] == pytest.approx(once, rel=1e-5)
