"""A model without its softmax shares what it has learned, and saves as any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from kmtard.networks import logits_of

X = np.random.RandomState(0).randn(6, 5).astype("float32")
Y = np.arange(6) % 3


def functional(head: Any) -> keras.Model:
    inputs = keras.Input((5,))
    return keras.Model(inputs, head(layers.Dense(4, activation="tanh")(inputs)))


def sequential(*head: Any) -> keras.Model:
    return keras.Sequential([keras.Input((5,)), layers.Dense(4), *head])


@keras.saving.register_keras_serializable(package="test_logits")
class Own(keras.Model):
    def __init__(self, activation: str = "softmax", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = activation
        self.dense = layers.Dense(3, activation=activation)

    def call(self, x: Any) -> Any:
        return self.dense(x)

    def get_config(self) -> dict[str, Any]:
        return {"activation": self.activation, "name": self.name}


def dense() -> layers.Dense:
    return layers.Dense(3, activation="softmax")


MODELS = {
    "activation": lambda: functional(dense()),
    "sequential": lambda: sequential(dense()),
    "Activation": lambda: sequential(layers.Dense(3), layers.Activation("softmax")),
    "Softmax": lambda: sequential(layers.Dense(3), layers.Softmax()),
    "ops": lambda: functional(lambda x: ops.softmax(layers.Dense(3)(x))),
    "cast": lambda: sequential(dense(), layers.Activation("linear", dtype="float32")),
    "wrapped": lambda: keras.Sequential(
        [keras.Input((5,)), layers.Rescaling(2.0), sequential(dense())]
    ),
    "twice wrapped": lambda: keras.Sequential([keras.Input((5,)), MODELS["wrapped"]()]),
    "hidden": lambda: sequential(dense(), layers.Dropout(0.1)),
    "within": lambda: functional(Own()),
    "own": Own,
}


def numpy(tensor: Any) -> np.ndarray:
    return ops.convert_to_numpy(tensor)


@pytest.mark.parametrize("kind", MODELS)
def test_logits_have_the_softmax_of_the_model(kind: str, tmp_path: Path) -> None:
    model = MODELS[kind]()
    before = numpy(model(X))
    logits = logits_of(model, X)
    np.testing.assert_allclose(numpy(ops.softmax(logits(X))), before, atol=1e-6)
    assert not np.allclose(numpy(logits(X)), before, atol=1e-2)
    assert np.array_equal(numpy(model(X)), before)
    assert logits_of(logits, X) is logits

    # Trained once, both have learned, and both can be saved.
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    logits.compile("sgd", loss)
    logits.fit(X, Y, verbose=0)
    after = numpy(model(X))
    assert not np.allclose(after, before, atol=1e-4)
    for each in (model, logits):
        each.save(tmp_path / "a.keras")
        again = keras.models.load_model(tmp_path / "a.keras")
        np.testing.assert_allclose(numpy(again(X)), numpy(each(X)), atol=1e-6)
    np.testing.assert_allclose(numpy(ops.softmax(logits(X))), after, atol=1e-6)


@pytest.mark.parametrize(
    "build",
    [
        lambda: sequential(layers.Dense(3)),
        lambda: sequential(layers.Dense(3), layers.ReLU()),
        lambda: Own("linear"),
    ],
)
def test_logits_stay_as_they_are(build: Any) -> None:
    model = build()
    assert logits_of(model, X) is model


def test_large_logits_lose_nothing() -> None:
    model = sequential(dense())
    model.layers[-1].bias.assign([-200.0, 0.0, 200.0])
    assert numpy(logits_of(model)(X)).min() < -150


def test_what_cannot_be_told_is_refused() -> None:
    with pytest.raises(ValueError, match=r"logits_of\(model, example=x\[:1\]\)"):
        logits_of(Own())
    with pytest.raises(TypeError, match="expects a Keras model.*Received: Dense"):
        logits_of(layers.Dense(3))
