"""Whole training steps with BatchNorm, momentum and L2 against the authors' numbers."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import kmtard
from kmtard.methods import multi_teacher
from kmtard.methods.natural import Natural
from kmtard.methods.trades import TRADES
from kmtard.optimizers import L2SGD

pytestmark = pytest.mark.golden("methods/steps_bn_*.npz")
FACTORIES = {
    "natural": lambda student, *_, **kw: (Natural(student, **kw), []),
    "trades": lambda student, *_, **kw: (TRADES(student, **kw), []),
    "baseline": multi_teacher.baseline,
    "ebb": multi_teacher.baseline_ebb,
    "mtard": multi_teacher.mtard,
    "bmtard": multi_teacher.b_mtard,
}
TWO_TEACHERS = ("baseline", "ebb", "mtard", "bmtard")
STATE = {
    "tau_nat": "nat_temperature",
    "tau_adv": "adv_temperature",
    "w_nat": "nat_weight",
    "w_adv": "adv_weight",
}


class StoredStart:
    """The start noise that belongs to a batch, found by the batch's own pixels."""

    def __init__(self, x, noise):
        self.x, self.noise = x.astype("float32"), noise.astype("float32")

    def __call__(self, x):
        batches, noise = map(ops.convert_to_tensor, (self.x, self.noise))
        distance = ops.max(ops.abs(batches - x[None]), axis=(1, 2, 3, 4))
        return x + ops.take(noise, ops.argmin(distance), axis=0)


def dense_net(shape, *weights, norm=None):
    hidden, classes = weights[0].shape[1], weights[2].shape[1]
    net = keras.Sequential([layers.Input(shape), layers.Flatten()])
    net.add(layers.Dense(hidden))
    if norm:
        net.add(layers.BatchNormalization(momentum=0.9, epsilon=1e-5))
    net.add(layers.ReLU())
    net.add(layers.Dense(classes))
    values = list(weights)
    if norm:
        values[2:2] = norm
    net.set_weights(values)
    return net


def named(golden, prefix, names=("W1", "b1", "W2", "b2")):
    return [golden[f"{prefix}_{name}"] for name in names]


def build(golden, method):
    shape = golden["x"].shape[2:]
    norm = named(golden, "init", ("gamma", "beta", "moving_mean", "moving_var"))
    student = dense_net(shape, *named(golden, "init"), norm=norm)
    teachers = [dense_net(shape, *named(golden, p)) for p in ("clean", "robust")]
    start = StoredStart(golden["x"], golden["noise_gauss"])
    kwargs = {"attack": kmtard.attacks.PGD(start=start)}
    if method in TWO_TEACHERS:
        kwargs["class_scale"] = 1.0
    return FACTORIES[method](student, *teachers, **kwargs)


def state_of(model):
    dense1, bn, dense2 = (layer for layer in model.student.layers if layer.weights)
    values = dict(zip(("W1", "b1"), dense1.weights, strict=True))
    values |= dict(zip(("W2", "b2"), dense2.weights, strict=True))
    names = ("gamma", "beta", "moving_mean", "moving_var")
    values |= dict(zip(names, bn.weights, strict=True))
    return {name: ops.convert_to_numpy(value.value) for name, value in values.items()}


def assert_state(model, golden, method, step):
    wanted = {
        name: golden[f"{method}__keras__{name}"][step] for name in state_of(model)
    }
    for name, value in state_of(model).items():
        np.testing.assert_allclose(
            value, wanted[name], atol=1e-5, rtol=1e-5, err_msg=f"{name}, step {step}"
        )
    for name, attribute in STATE.items() if method in TWO_TEACHERS else ():
        np.testing.assert_allclose(
            float(getattr(model, attribute).value),
            golden[f"{method}__keras__{name}"][step],
            atol=1e-5,
            err_msg=f"{name}, step {step}",
        )


@pytest.mark.parametrize("eager", [False, True], ids=["compiled", "eager"])
@pytest.mark.parametrize("method", FACTORIES)
def test_train_on_batch(golden, method, eager):
    model, callbacks = build(golden, method)
    model.compile(L2SGD(0.1, momentum=0.9, weight_decay=2e-4), run_eagerly=eager)
    for callback in callbacks:
        callback.set_model(model)
        callback.on_train_begin()
        callback.on_epoch_begin(0)
    for step in range(len(golden["x"])):
        model.reset_metrics()
        x = golden["x"][step].astype("float32")
        logs = model.train_on_batch(x, golden["labels"][step], return_dict=True)
        assert logs["loss"] == pytest.approx(
            golden[f"{method}__keras__loss"][step], rel=1e-5
        )
        assert_state(model, golden, method, step)
