"""Attacks on the average of a randomized model."""

from __future__ import annotations

import json
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from kmtard.attacks import APGD, EOT, FAB, PGD, AutoAttack, RayS, fgsm
from kmtard.attacks.classifier import Classifier

pytestmark = pytest.mark.quick("torch")

SHAPE = (4, 4, 1)


def net(noise: float = 0.0) -> keras.Model:
    inputs = keras.Input(SHAPE)
    x = inputs
    if noise:
        # A layer that is random in inference mode, too.
        x = Noisy(noise)(x)
    outputs = layers.Dense(3)(layers.Flatten()(x))
    model = keras.Model(inputs, outputs)
    dense = model.layers[-1]
    random = np.random.default_rng(0)
    dense.set_weights([random.normal(0, 1, w.shape) for w in dense.get_weights()])
    return model


class Noisy(layers.Layer):
    def __init__(self, noise: float) -> None:
        super().__init__()
        self.noise = noise
        self.seed = keras.random.SeedGenerator(1)

    def call(self, x: Any) -> Any:
        return x + self.noise * keras.random.normal(ops.shape(x), seed=self.seed)


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(1).random((24, *SHAPE), "float32")


@pytest.mark.parametrize(
    "attack",
    [PGD(0.1, steps=3), APGD(0.1, steps=5), FAB(0.1, steps=5), RayS(0.1, queries=20)],
    ids=lambda attack: type(attack).__name__,
)
def test_on_a_deterministic_model_it_is_the_attack(attack: Any, x: np.ndarray) -> None:
    model = net()
    y = ops.convert_to_numpy(model(x)).argmax(-1)
    wanted = attack.run(model, x, y)
    found = EOT(attack, samples=3).run(model, x, y)
    np.testing.assert_allclose(found.x_adv, wanted.x_adv, atol=1e-5)
    np.testing.assert_array_equal(found.queries, 3 * wanted.queries)
    np.testing.assert_array_equal(found.backwards, 3 * wanted.backwards)
    assert found.success.any()


def test_average_has_less_noise_and_the_model_itself_the_same(x: np.ndarray) -> None:
    classifier = Classifier(net(0.5), x[:1])
    images = ops.convert_to_tensor(x)

    def spread(of: Classifier) -> float:
        runs = np.stack([of.scores(images) for _ in range(12)])
        return float(runs.std(axis=0).mean())

    one, many = spread(classifier), spread(classifier.averaged(16))
    assert many == pytest.approx(one / 4, rel=0.3)
    assert spread(classifier) == pytest.approx(one, rel=0.2)
    assert classifier.averaged(16) is classifier.averaged(16)


def test_it_makes_an_attack_on_a_random_model_stronger(x: np.ndarray) -> None:
    model, calm = net(0.6), net()
    y = ops.convert_to_numpy(calm(x)).argmax(-1)

    def margin(attack: Any) -> float:
        """Return how far the attack gets on the model without its noise."""
        z = ops.convert_to_numpy(calm(attack(model, x, y)))
        own = np.take_along_axis(z, y[:, None], 1)[:, 0]
        np.put_along_axis(z, y[:, None], -np.inf, 1)
        return float(np.mean(own - z.max(axis=1)))

    assert margin(EOT(fgsm(epsilon=0.1), samples=20)) < margin(fgsm(epsilon=0.1))


@pytest.mark.once("torch")
def test_it_wraps_sequences_and_is_saved() -> None:
    attack = EOT(AutoAttack(0.2, version="rand"), samples=4)
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(attack)))
    again = keras.saving.deserialize_keras_object(config)
    assert repr(again) == repr(attack) and again.epsilon == 0.2
    assert not attack.can_target and EOT(PGD()).can_target
    with pytest.raises(TypeError, match="`attack` must be a kmtard attack"):
        EOT("pgd")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="samples.*0"):
        EOT(PGD(), samples=0)
