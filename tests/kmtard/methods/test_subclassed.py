"""Subclassed models, which have no `output_shape`, as students and teachers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from kmtard import methods, registry
from kmtard.methods.multi_teacher import MultiTeacherDistiller
from kmtard.methods.natural import Natural

KINDS = ("unbuilt", "called")


@keras.saving.register_keras_serializable(package="kmtard_tests")
class Subclassed(keras.Model):
    """The layers of the shared tiny network."""

    def __init__(self, classes: int = 3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.classes = classes
        self.flatten = layers.Flatten()
        self.hidden = layers.Dense(8)
        self.norm = layers.BatchNormalization(momentum=0.9)
        self.logits = layers.Dense(classes, dtype="float32")

    def call(self, inputs: Any, training: bool = False) -> Any:
        x = self.norm(self.hidden(self.flatten(inputs)), training=training)
        return self.logits(keras.ops.relu(x))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "classes": self.classes}


def subclassed(tiny: SimpleNamespace, kind: str, classes: int = 3) -> Any:
    network = Subclassed(classes)
    if kind == "called":
        network(tiny.x[:2])
    return network


@pytest.mark.parametrize(("kind", "eager"), zip(KINDS, (False, True), strict=True))
def test_training_is_that_of_a_functional_model(
    tiny: SimpleNamespace, kind: str, eager: bool
) -> None:
    functional = [tiny.network(seed) for seed in (1, 2, 3)]
    networks = [subclassed(tiny, kind) for _ in functional]
    histories = []
    for group in (networks, functional):
        model = MultiTeacherDistiller(
            *group, attack=tiny.attack(), evaluation_attack=tiny.attack()
        )
        model.compile("sgd", run_eagerly=eager)
        # Builds what is not built.
        model.test_on_batch(tiny.x[:4], tiny.y[:4])
        for own, other in zip(networks, functional, strict=True):
            own.set_weights(other.get_weights())
        model.optimizer.learning_rate = 0.1
        before = tiny.values(functional[0].weights)
        histories.append(
            tiny.fit(model, tiny.x, tiny.y, validation_data=(tiny.x, tiny.y))
        )
        after = tiny.values(group[0].weights)
        assert any((a != b).any() for a, b in zip(before, after, strict=True))
        assert not group[1].trainable_weights

    one, other = histories
    assert one == {name: pytest.approx(v, rel=1e-4) for name, v in other.items()}


@pytest.mark.parametrize(
    ("name", "kind"), zip(("absld", "fair-ard"), KINDS, strict=True)
)
def test_states_of_classes(tiny: SimpleNamespace, name: str, kind: str) -> None:
    model, callbacks = methods.build(
        name,
        student=subclassed(tiny, kind),
        adv_teacher=subclassed(tiny, kind),
        attack=tiny.attack(),
    )
    model.compile("sgd", run_eagerly=True)

    tiny.fit(model, tiny.x, tiny.y, callbacks=callbacks)

    (state, *_) = model.class_state
    assert getattr(model, state).shape == (3,)


def test_teacher_of_other_classes(tiny: SimpleNamespace) -> None:
    message = "student with 3 classes.*nat_teacher with 7"
    others = tiny.network(), subclassed(tiny, "called", 7), tiny.network(2)
    with pytest.raises(ValueError, match=message):
        MultiTeacherDistiller(*others)

    late = MultiTeacherDistiller(
        tiny.network(), subclassed(tiny, "unbuilt", 7), tiny.network(2)
    )
    late.compile("sgd", run_eagerly=True)
    with pytest.raises(ValueError, match=message):
        tiny.fit(late, tiny.x, tiny.y)


@pytest.mark.parametrize("kind", KINDS)
def test_labels_are_checked_against_its_classes(
    tiny: SimpleNamespace, kind: str
) -> None:
    model = Natural(subclassed(tiny, kind), evaluation_attack=tiny.attack())
    model.compile("sgd", run_eagerly=True)

    with pytest.raises(ValueError, match="Labels must"):
        tiny.fit(model, tiny.x, tiny.y + 1)


def test_output_that_is_no_logits(tiny: SimpleNamespace) -> None:
    class Pair(Subclassed):
        def call(self, inputs: Any, training: bool = False) -> Any:
            return 2 * [super().call(inputs, training)]

    network = Pair()
    network(tiny.x[:2])
    wanted = r"one output of logits.*Received.*\[\(.*\), \(.*model.outputs\[0\]"
    with pytest.raises(ValueError, match=wanted):
        Natural(network)


def test_method_is_saved_and_loaded(tiny: SimpleNamespace, tmp_path: Any) -> None:
    model = Natural(subclassed(tiny, "called"), attack=tiny.attack())
    model.compile("sgd", run_eagerly=True)
    tiny.fit(model, tiny.x, tiny.y)
    model.save(tmp_path / "model.keras")

    loaded = keras.models.load_model(tmp_path / "model.keras")

    logits = [m.predict(tiny.x, verbose=0) for m in (model, loaded)]
    np.testing.assert_allclose(*logits, atol=1e-6)


def test_every_method_takes_one(tiny: SimpleNamespace) -> None:
    for name in registry.METHODS:
        roles = registry.positional("methods", name)
        networks = {role: subclassed(tiny, "called") for role in roles}
        model, _ = methods.build(name, **networks)
        assert (model.built, model.num_classes) == (True, 3)
