"""Attacks crafted on one network and tried on another."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from kmtard.attacks.classifier import Classifier
from kmtard.attacks.gradient import PGD, cw_inf, pgd_trades
from kmtard.attacks.transfer import Transfer, transfer_cw_inf, transfer_pgd_trades

SHAPE = (4, 4, 1)
ATTACK = PGD(0.2, step_size=0.1, steps=2, start="uniform_clipped")


def net(seed, classes=3):
    head = [layers.Flatten(), layers.Dense(classes)]
    model = keras.Sequential([layers.Input(SHAPE), *head])
    kernel = np.random.default_rng(seed).standard_normal((16, classes))
    model.set_weights([kernel, np.zeros(classes)])
    return model


@pytest.fixture(scope="module")
def surrogate():
    return net(1)


@pytest.fixture(scope="module")
def target():
    return net(2)


@pytest.fixture
def images():
    return np.random.default_rng(0).random((12, *SHAPE), "float32")


@pytest.fixture
def labels(images, target):
    return np.asarray(target.predict(images, verbose=0)).argmax(-1)


@pytest.mark.parametrize(
    "transfer, attack",
    [
        (lambda model, **kw: Transfer(ATTACK, surrogate=model), lambda **kw: ATTACK),
        (transfer_pgd_trades, pgd_trades),
        (transfer_cw_inf, cw_inf),
    ],
)
def test_own_surrogate_is_the_attack_itself(transfer, attack, target, images, labels):
    found = transfer(target, epsilon=0.2).run(target, images, labels, seed=3)
    wanted = attack(epsilon=0.2).run(target, images, labels, seed=3)
    np.testing.assert_array_equal(found.x_adv, wanted.x_adv)
    np.testing.assert_array_equal(found.success, wanted.success)


def test_crafts_on_the_surrogate_and_judges_on_the_target(
    surrogate, target, images, labels
):
    found = Transfer(ATTACK, surrogate=surrogate).run(target, images, labels)
    crafted = ATTACK.run(surrogate, images, labels)
    np.testing.assert_array_equal(found.x_adv, crafted.x_adv)
    predicted = np.asarray(target.predict(found.x_adv, verbose=0)).argmax(-1)
    np.testing.assert_array_equal(found.success, predicted != labels)
    assert (found.success != crafted.success).any()


def test_images_that_the_target_has_wrong_are_attacked_too(surrogate, target, images):
    wrong = np.asarray(target.predict(images, verbose=0)).argmin(-1)
    x_adv = Transfer(ATTACK, surrogate=surrogate)(target, images, wrong)
    assert (x_adv != images).any(axis=(1, 2, 3)).all()


def test_target_is_asked_once(surrogate, target, images, labels):
    found = Transfer(ATTACK, surrogate=Classifier(surrogate)).run(
        target, images, labels
    )
    np.testing.assert_array_equal(found.queries, np.zeros(12))
    np.testing.assert_array_equal(found.forwards, np.full(12, 3))
    np.testing.assert_array_equal(found.backwards, np.full(12, 2))


def test_surrogate_may_end_in_a_softmax(surrogate, target, images, labels):
    softmax = keras.Sequential([surrogate, layers.Softmax()])
    with pytest.warns(UserWarning, match="softmax, is skipped"):
        x_adv = Transfer(ATTACK, surrogate=softmax)(target, images, labels)
    wanted = Transfer(ATTACK, surrogate=surrogate)(target, images, labels)
    np.testing.assert_allclose(x_adv, wanted, atol=1e-6)


def test_different_classes_are_refused(target, images, labels):
    with pytest.raises(ValueError, match="same classes.*5 classes.*3"):
        Transfer(ATTACK, surrogate=net(1, classes=5)).run(target, images, labels)


def test_what_is_no_attack_is_refused(surrogate):
    with pytest.raises(TypeError, match="kmtard attack.*'pgd_sat'"):
        Transfer("pgd_sat", surrogate=surrogate)
