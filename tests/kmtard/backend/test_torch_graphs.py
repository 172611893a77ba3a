"""On torch, networks that are called directly compute what Keras computes."""

import keras
import numpy as np
import pytest
from keras import ops

from kmtard import backend, networks
from kmtard.backend.fast_layers import fast_layers
from tests.kmtard.backend.layers import TOLERANCE, assert_close, both

pytestmark = pytest.mark.once("torch")


class Noisy(keras.layers.Layer):
    """A layer of a user, which nests layers of Keras and has losses of its own."""

    def __init__(self):
        super().__init__()
        self.norm = keras.layers.BatchNormalization()
        self.dropout = keras.layers.Dropout(0.5, seed=3)

    def call(self, x, training=False):
        self.add_loss(ops.mean(x**2))
        # `training` is not passed on: the layers find it in the context of the call.
        return self.dropout(self.norm(x)) + ops.cast(training, x.dtype)


def users_graph():
    images = keras.Input((6, 6, 3))
    x = keras.layers.Conv2D(4, 3, activity_regularizer="l2")(images)
    x = keras.layers.Activation("silu")(keras.layers.MaxPooling2D()(x))
    y = Noisy()(x)
    x = keras.layers.Concatenate()([x, y * 2.0])
    x = keras.layers.Dropout(0.5, seed=2)(keras.layers.Flatten()(x))
    return keras.Model(images, keras.layers.Dense(5, activation="tanh")(x))


def merged():
    images = keras.Input((6, 6, 3))
    x = keras.layers.DepthwiseConv2D(3, padding="same")(images)
    x = keras.layers.Add()([x, keras.layers.Rescaling(2.0, 0.5)(images), images])
    x = keras.layers.AveragePooling2D(2)(x) + 1.0
    return keras.Model([images], [keras.layers.GlobalAveragePooling2D()(x)])


def padded():
    """Paddings that a convolution can and cannot apply itself."""
    images = keras.Input((6, 6, 3))
    x = keras.layers.ZeroPadding2D((1, 2))(images)
    x = keras.layers.Conv2D(4, 3, strides=2, activation="tanh")(x)
    shared = keras.layers.ZeroPadding2D(1)(x)
    x = keras.layers.Conv2D(4, 3)(shared)
    x = keras.layers.Add()([x, keras.layers.MaxPooling2D(3, 1)(shared)])
    x = keras.layers.ZeroPadding2D(((1, 0), (1, 1)))(x)
    x = keras.layers.Conv2D(4, 3, padding="same")(keras.layers.ZeroPadding2D(1)(x))
    x = keras.layers.Conv2D(5, 2, use_bias=False)(keras.layers.ZeroPadding2D(1)(x))
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(x))


def sequential():
    return keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            networks.small_cnn(6, (6, 6, 3), width=2, mean="cifar10"),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(max_value=1.0, negative_slope=0.1),
        ]
    )


def in_bfloat16():
    with_policy = keras.dtype_policies.DTypePolicy("mixed_bfloat16")
    images = keras.Input((6, 6, 3))
    x = keras.layers.Conv2D(4, 3, dtype=with_policy)(images)
    x = keras.layers.GlobalAveragePooling2D(dtype=with_policy)(x)
    return keras.Model(images, keras.layers.Dense(5, dtype="float32")(x))


def with_adapters():
    network = networks.small_cnn(5, (6, 6, 3), width=2)
    for layer in network.layers:
        if isinstance(layer, (keras.layers.Dense, keras.layers.Conv2D)):
            layer.enable_lora(2, b_initializer="he_uniform")
    return network


NETWORKS = {
    "small_cnn": lambda: networks.small_cnn(5, (6, 6, 3), width=2),
    "mobilenet_v2": lambda: networks.mobilenet_v2(5, (6, 6, 3)),
    "wide": lambda: networks.trades_wide_resnet(5, (6, 6, 3), depth=10, width=1),
    "deepmind": lambda: networks.deepmind_wide_resnet(5, (6, 6, 3), depth=10, width=1),
    **{f.__name__: f for f in (users_graph, merged, padded, sequential)},
    "in_bfloat16": in_bfloat16,
    "with_adapters": with_adapters,
}


def results(build, training):
    """Outputs, losses, moving averages and all gradients of a fresh network."""
    import torch

    keras.utils.set_random_seed(1)
    network = build()
    x = torch.tensor(
        np.random.default_rng(0).random((32, 6, 6, 3), "float32"), requires_grad=True
    )
    network(x, training=training)
    outputs = network(x, training=training)
    outputs = outputs[0] if isinstance(outputs, list) else outputs
    total = (outputs * torch.arange(outputs.shape[1])).sin().sum()
    total = total + sum(network.losses)
    variables = [v.value for v in network.trainable_variables]
    gradients = torch.autograd.grad(total, [x, *variables], allow_unused=True)
    state = [v.value for v in network.non_trainable_variables if "seed" not in v.path]
    return [outputs, *network.losses, *state, *(g for g in gradients if g is not None)]


# In training, the gradients of MobileNetV2 change by a tenth if images change by the
# last bit, whichever code runs.
@pytest.mark.parametrize(
    ("name", "training"),
    [
        (name, training)
        for name in sorted(NETWORKS)
        for training in (False, True)
        if (name, training) != ("mobilenet_v2", True)
    ],
)
def test_networks_and_their_gradients(name, training):
    tolerance = TOLERANCE["mixed_bfloat16" if name == "in_bfloat16" else "float32"]
    kept, direct = both(results, NETWORKS[name], training)
    assert len(kept) == len(direct)
    for theirs, ours in zip(kept, direct, strict=True):
        theirs, ours = backend.to_numpy(theirs), backend.to_numpy(ours)
        # Some gradients are 0 but for the rounding of others, and statistics of few
        # images amplify it.
        tolerances = {"rtol": 100 * tolerance, "atol": 100 * tolerance}
        np.testing.assert_allclose(ours, theirs, **tolerances)


def calls_of_keras(monkeypatch, network, x):
    """Names of the layers that run `Layer.__call__` of Keras."""
    found = []
    operation = keras.Operation.__call__

    def counted(self, *args, **kwargs):
        found.append(type(self).__name__)
        return operation(self, *args, **kwargs)

    with monkeypatch.context() as patch, fast_layers():
        patch.setattr(keras.Operation, "__call__", counted)
        network(x, training=False)
    return found


def test_only_what_needs_it_runs_the_code_of_keras(monkeypatch):
    import torch

    x = torch.ones((1, 6, 6, 3))
    assert not calls_of_keras(monkeypatch, NETWORKS["wide"](), x)
    found = set(calls_of_keras(monkeypatch, users_graph(), x))
    assert {"Noisy", "Conv2D", "Dropout", "Concatenate"} <= found
    assert not found & {"MaxPooling2D", "Dense", "Flatten"}
    network = NETWORKS["small_cnn"]()
    network.layers[1].register_forward_hook(lambda *args: None)
    assert calls_of_keras(monkeypatch, network, x) == ["Conv2D"]


def test_only_one_layer_pads_and_convolves(monkeypatch):
    """A padding with a hook is still called."""
    import torch

    network, x = NETWORKS["small_cnn"](), torch.ones((1, 6, 6, 3))
    zeros = next(
        layer
        for layer in network.layers
        if isinstance(layer, keras.layers.ZeroPadding2D)
    )
    copies = []
    pad = torch.nn.functional.pad
    monkeypatch.setattr(
        torch.nn.functional, "pad", lambda *args: copies.append(1) or pad(*args)
    )
    with fast_layers():
        network(x, training=False)
        assert not copies
        zeros.register_forward_hook(lambda *args: None)
        network(x, training=False)
        assert copies


@pytest.mark.parametrize("shape", [(2, 5, 6, 3), (2, 6, 6, 1), (6, 3), (2, 6, 6)])
def test_wrong_images_get_the_message_of_keras(shape):
    network = NETWORKS["small_cnn"]()
    x = ops.ones(shape)
    with pytest.raises(Exception) as kept:
        network(x, training=False)
    with fast_layers(), pytest.raises(type(kept.value)) as direct:
        network(x, training=False)
    assert "small" in str(direct.value) or "xpected" in str(direct.value)


def test_masks_reach_the_layers_behind():
    images = keras.Input((4, 3))
    x = keras.layers.BatchNormalization()(keras.layers.Masking()(images))
    network = keras.Model(images, keras.layers.GlobalAveragePooling1D()(x))
    x = np.random.default_rng(0).random((2, 4, 3), "float32")
    x[:, 2:] = 0.0
    tensor = ops.convert_to_tensor(x)
    assert_close(both(lambda: [network(tensor, training=True)]), 1e-5)
