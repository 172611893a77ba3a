"""Diagnostics that attack, on sound and unsound models."""

import pytest
from keras import layers

from kmtard.attacks.apgd import APGD
from kmtard.attacks.fab import FAB
from kmtard.attacks.gradient import PGD
from kmtard.attacks.square import Square
from kmtard.evaluation.diagnostics import attacks as diagnostics
from tests.kmtard.evaluation.diagnostics.nets import (
    Apply,
    labels,
    names,
    net,
    rounded,
)


def test_sound_model(x):
    model = net(first=[layers.BatchNormalization(), layers.Dropout(0.5)])
    y = labels(model, x)
    assert diagnostics.check_strength(model, x, y, epsilon=0.1) == []
    x_adv = PGD(0.1, step_size=0.02, steps=5, start="clean")(model, x, y)
    assert diagnostics.loss_did_not_grow(model, x, x_adv, y) == []


def test_rounding_fools_the_attack_at_large_epsilon(x):
    model = net(first=[Apply(rounded)])
    found = diagnostics.check_strength(model, x, labels(model, x), epsilon=0.1)
    assert "robust-at-large-epsilon" in names(found)


def test_loss_that_did_not_grow(x):
    model = net()
    found = diagnostics.loss_did_not_grow(model, x, x, labels(model, x))
    assert names(found) == {"loss-did-not-grow"}


@pytest.mark.parametrize(
    "check, sound, unsound",
    [
        (diagnostics.one_step_stronger, (0.6, 0.5), (0.4, 0.5)),
        (diagnostics.more_steps_weaker, (0.5, 0.5), (0.5, 0.6)),
        (diagnostics.robust_at_large_epsilon, (0.0, 0.5), (0.01, 0.5)),
        (diagnostics.robust_at_large_epsilon, (0.3, 0.1), (0.3, 0.6)),
    ],
)
def test_accuracies_in_the_wrong_order(check, sound, unsound):
    assert check(*sound) == []
    assert len(check(*unsound)) == 1


@pytest.mark.parametrize(
    "classes, expected",
    [
        (10, {}),
        (4, {"apgd-t": "3 targets", "fab-t": "3 targets"}),
        (3, {"apgd-t": "z_(3) instead", "fab-t": "2 targets"}),
        (2, {"apgd-t": "margin", "apgd-dlr": "margin", "fab-t": "1 targets"}),
    ],
)
def test_few_classes(classes, expected):
    attacks = {
        "apgd-ce": APGD(),
        "apgd-dlr": APGD(loss="dlr"),
        "apgd-t": APGD(loss="dlr", targets=9),
        "fab-t": FAB(),
        "square": Square(),
    }
    found = diagnostics.few_classes(classes, attacks)
    told = {f.message.partition(":")[0]: f.message for f in found}
    assert set(told) == set(expected)
    for name, part in expected.items():
        assert part in told[name]
