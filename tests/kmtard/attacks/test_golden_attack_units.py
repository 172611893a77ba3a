"""Losses and schedules against numbers of the original attack code."""

import numpy as np
import pytest
from keras import ops

from kmtard import backend, losses

pytestmark = pytest.mark.golden("attacks/unit_goldens.npz")


def arrays(golden, *names):
    if missing := [name for name in names if name not in golden]:
        pytest.skip(f"no {missing} in this file")
    return [golden[name] for name in names]


def value_and_gradient(function, logits):
    logits = ops.convert_to_tensor(logits)
    values = ops.convert_to_numpy(function(logits))
    return values, ops.convert_to_numpy(backend.input_gradient(function, logits))


def loss_of(name, y, target):
    return {
        "ce": lambda z: losses.cross_entropy(y, z),
        "dlr": lambda z: losses.dlr(y, z),
        "dlr_targeted": lambda z: losses.dlr_targeted(y, z, target),
    }[name]


@pytest.mark.parametrize("name", ["ce", "dlr", "dlr_targeted"])
def test_loss_and_its_gradient(golden, name):
    logits, y, target, wanted, wanted_gradient = arrays(
        golden,
        *(f"loss/{key}" for key in ("logits", "y", "target", name, f"{name}_grad")),
    )
    values, gradient = value_and_gradient(loss_of(name, y, target), logits)
    np.testing.assert_allclose(values, wanted, rtol=2e-6, atol=1e-6)
    np.testing.assert_allclose(gradient, wanted_gradient, rtol=1e-5, atol=1e-6)


def test_margin(golden):
    logits, y, wanted = arrays(golden, "loss/logits", "loss/y", "loss/margin")
    values = losses.margin(y, ops.convert_to_tensor(logits))
    np.testing.assert_allclose(ops.convert_to_numpy(values), wanted, rtol=1e-6)


@pytest.mark.parametrize("kappa", [0, 50])
def test_cw(golden, kappa):
    logits, y, total, wanted = arrays(
        golden,
        "loss/logits",
        "loss/y",
        f"loss/cw_sum_conf{kappa}",
        f"loss/cw_conf{kappa}_grad",
    )
    values, gradient = value_and_gradient(
        lambda z: losses.cw(y, z, kappa=kappa), logits
    )
    assert values.sum() == pytest.approx(total, rel=1e-5)
    np.testing.assert_array_equal(gradient, wanted)
