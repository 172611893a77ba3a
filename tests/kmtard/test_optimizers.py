"""L2SGD against the arithmetic of `torch.optim.SGD`, written out in numpy."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from kmtard.optimizers import L2SGD

RATES = [0.1] * 10 + [0.01] * 10
VARIANTS = {
    "plain": {"momentum": 0.0},
    "momentum": {"momentum": 0.9},
    "l2": {"momentum": 0.9, "weight_decay": 0.05},
    "nesterov": {"momentum": 0.9, "weight_decay": 0.05, "nesterov": True},
}


def reference(w, gradients, rates, momentum, weight_decay=0.0, nesterov=False):
    """Return `w` after the steps, as torch documents them."""
    velocity = np.zeros_like(w)
    for gradient, rate in zip(gradients, rates, strict=True):
        gradient = gradient + weight_decay * w
        velocity = momentum * velocity + gradient
        w = w - rate * (gradient + momentum * velocity if nesterov else velocity)
    return w


@pytest.mark.parametrize("variant", VARIANTS)
def test_equals_torch_over_a_drop_of_the_learning_rate(variant):
    rng = np.random.default_rng(0)
    starts = [rng.standard_normal(shape) for shape in ((3, 2), (2,))]
    gradients = [rng.standard_normal((20, *w.shape)) for w in starts]
    variables = [keras.Variable(w.astype("float32")) for w in starts]
    optimizer = L2SGD(RATES[0], **VARIANTS[variant])
    for step, rate in enumerate(RATES):
        optimizer.learning_rate = rate
        optimizer.apply(
            [ops.convert_to_tensor(g[step].astype("float32")) for g in gradients],
            variables,
        )
    for variable, w, g in zip(variables, starts, gradients, strict=True):
        np.testing.assert_allclose(
            ops.convert_to_numpy(variable),
            reference(w, g, RATES, **VARIANTS[variant]),
            rtol=1e-5,
            atol=1e-6,
        )


def regression():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((16, 3)).astype("float32")
    y = (x @ np.array([[1.0], [-2.0], [0.5]]) + 0.3).astype("float32")
    net = keras.Sequential([layers.Input((3,)), layers.Dense(1)])
    net.set_weights([np.array([[0.1], [0.2], [0.3]]), np.array([0.4])])
    return net, x, y


def test_follows_a_learning_rate_scheduler_in_fit():
    net, x, y = regression()
    rates = [0.1, 0.1, 0.01, 0.01]
    w = np.append(net.get_weights()[0], net.get_weights()[1])
    inputs = np.hstack([x, np.ones((16, 1))])
    velocity = np.zeros(4)
    for rate in rates:
        gradient = 2 / 16 * inputs.T @ (inputs @ w - y[:, 0]) + 0.01 * w
        velocity = 0.9 * velocity + gradient
        w = w - rate * velocity
    net.compile(L2SGD(0.1, momentum=0.9, weight_decay=0.01), loss="mse")
    schedule = keras.callbacks.LearningRateScheduler(lambda epoch: rates[epoch])
    net.fit(x, y, batch_size=16, epochs=4, verbose=0, callbacks=[schedule])
    kernel, bias = net.get_weights()
    np.testing.assert_allclose(np.append(kernel, bias), w, rtol=1e-5, atol=1e-6)


def test_takes_a_schedule():
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([2], [0.5, 0.25])
    variable = keras.Variable([1.0])
    optimizer = L2SGD(schedule, momentum=0.0)
    # Keras' boundaries still belong to the earlier value.
    for wanted in (0.5, 0.0, -0.5, -0.75):
        optimizer.apply([ops.convert_to_tensor([1.0])], [variable])
        assert float(ops.convert_to_numpy(variable)[0]) == pytest.approx(wanted)


@pytest.fixture(params=["mixed_float16", "mixed_bfloat16"])
def policy(request):
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy("float32")


def test_mixed_precision(policy):
    net, x, y = regression()
    net.compile(L2SGD(0.05, momentum=0.9, weight_decay=1e-4), loss="mse")
    scaled = isinstance(net.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scaled == (policy == "mixed_float16")
    history = net.fit(x, y, batch_size=16, epochs=30, verbose=0).history["loss"]
    assert np.isfinite(history).all()
    assert history[-1] < 0.1 * history[0]
    assert {value.dtype for value in net.get_weights()} == {np.dtype("float32")}


def test_loss_scale_does_not_reach_the_l2_term():
    weights = []
    for wrap in (
        lambda optimizer: optimizer,
        lambda optimizer: keras.optimizers.LossScaleOptimizer(optimizer, 1024.0),
    ):
        net, x, y = regression()
        net.compile(wrap(L2SGD(0.1, momentum=0.9, weight_decay=0.1)), loss="mse")
        net.fit(x, y, batch_size=16, epochs=3, verbose=0)
        weights.append(np.append(*net.get_weights()))
    np.testing.assert_allclose(*weights, rtol=1e-5)


def test_exclude_from_weight_decay():
    kernel, bias = (keras.Variable([1.0], name=name) for name in ("kernel", "bias"))
    optimizer = L2SGD(0.1, momentum=0.0, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.apply([ops.zeros((1,)), ops.zeros((1,))], [kernel, bias])
    assert float(ops.convert_to_numpy(kernel)[0]) == pytest.approx(0.95)
    assert float(ops.convert_to_numpy(bias)[0]) == 1.0


def test_l2_reaches_every_trainable_array_and_no_other():
    net = keras.Sequential(
        [layers.Input((2,)), layers.Dense(2), layers.BatchNormalization()]
    )
    net.set_weights([np.ones(v.shape) for v in net.weights])
    optimizer = L2SGD(1.0, momentum=0.0, weight_decay=0.5)
    trainable = net.trainable_variables
    optimizer.apply([ops.zeros(v.shape) for v in trainable], trainable)
    for variable in net.weights:
        wanted = 0.5 if variable.trainable else 1.0
        np.testing.assert_allclose(ops.convert_to_numpy(variable), wanted)


def test_config_round_trip():
    optimizer = L2SGD(0.3, momentum=0.8, weight_decay=2e-4, nesterov=True, clipnorm=2.0)
    config = keras.saving.serialize_keras_object(optimizer)
    again = keras.saving.deserialize_keras_object(config)
    assert isinstance(again, L2SGD)
    assert again.get_config() == optimizer.get_config()
    assert again.get_config()["weight_decay"] == 2e-4
    assert (again.momentum, again.nesterov, again.clipnorm) == (0.8, True, 2.0)


def test_config_of_a_learning_rate_that_has_run_out():
    optimizer = L2SGD(0.1)
    optimizer.learning_rate = 0.0
    again = L2SGD.from_config(optimizer.get_config())
    assert float(again.learning_rate) == 0


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"momentum": 1.0}, "momentum.*1.0"),
        ({"momentum": -0.1}, "momentum.*-0.1"),
        ({"momentum": float("nan")}, "momentum.*nan"),
        ({"weight_decay": -1e-4}, "weight_decay.*-0.0001"),
        ({"weight_decay": float("nan")}, "weight_decay.*nan"),
        ({"learning_rate": -0.1}, "learning_rate.*-0.1"),
        ({"learning_rate": float("nan")}, "learning_rate.*nan"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        L2SGD(**arguments)


@pytest.mark.once("torch")
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_weights_whose_axes_have_another_order_in_memory(momentum, nesterov):
    """As kernels of convolutions have; gradients and velocities may differ in it."""
    import torch

    rng = np.random.default_rng(0)
    start = rng.normal(size=(3, 3, 4, 5)).astype("float32")
    gradients = rng.normal(size=(3, *start.shape)).astype("float32")
    variable = keras.Variable(start)
    permuted = torch.tensor(start).permute(3, 2, 0, 1)
    permuted = permuted.contiguous(memory_format=torch.channels_last)
    variable.value.data = permuted.permute(2, 3, 1, 0)
    assert not variable.value.is_contiguous()
    optimizer = L2SGD(0.1, momentum=momentum, weight_decay=0.05, nesterov=nesterov)
    w, v = start.astype("float64"), np.zeros(start.shape)
    for number, each in enumerate(gradients):
        given = torch.tensor(each)
        if number == 1:
            given = given.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
        optimizer.apply([given], [variable])
        g = each + 0.05 * w
        v = momentum * v + g
        w = w - 0.1 * (g + momentum * v if nesterov else v)
        np.testing.assert_allclose(ops.convert_to_numpy(variable), w, atol=1e-6)
    assert not variable.value.is_contiguous()
