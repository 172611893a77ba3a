"""PyTorch's faster layers compute what Keras's own layers compute."""

import keras
import numpy as np
import pytest
from keras import ops

from kmtard import backend
from kmtard.backend.fast_layers import fast_layers
from tests.kmtard.backend.layers import TOLERANCE, assert_close, both

pytestmark = pytest.mark.once("torch")


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({"kernel_size": 3}, (7, 5, 4)),
        ({"kernel_size": 3, "strides": 2}, (7, 6, 4)),
        ({"kernel_size": 2, "strides": (1, 2)}, (6, 6, 4)),
        ({"kernel_size": 3, "dilation_rate": 2, "groups": 2}, (9, 8, 4)),
        ({"kernel_size": 1, "data_format": "channels_first"}, (4, 6, 5)),
    ],
)
def test_convolutions_of_torch(options, shape, padding, policy):
    layer = keras.layers.Conv2D(6, padding=padding, dtype=policy, **options)
    x = np.random.default_rng(0).normal(size=(3, *shape)).astype("float32")
    layer.build(x.shape)
    assert_close(both(torch_gradients, layer, x), TOLERANCE[policy])


def torch_gradients(layer, x, training=False):
    """The outputs, the gradients, and a gradient of a gradient."""
    import torch

    x = torch.tensor(x, requires_grad=True)
    inputs = (x, *(v.value for v in layer.trainable_variables))
    outputs = layer(x, training=training)
    total = outputs.sin().sum()
    found = torch.autograd.grad(total, inputs, create_graph=True)
    second = torch.autograd.grad((found[0] ** 2).sum(), inputs, allow_unused=True)
    return [outputs, *found, *(each for each in second if each is not None)]


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({}, (4, 5, 3)),
        ({"axis": 1, "momentum": 0.9, "epsilon": 1e-5}, (3, 4, 5)),
        ({"scale": False, "center": False}, (6,)),
        ({"axis": 2}, (4, 5, 3)),
        ({"trainable": False}, (4, 5, 3)),
    ],
)
def test_batch_norm_and_its_moving_averages(options, shape, training, policy):
    rng = np.random.default_rng(0)
    x = rng.normal(1, 2, size=(4, *shape)).astype("float32")

    def results():
        layer = keras.layers.BatchNormalization(dtype=policy, **options)
        layer.build(x.shape)
        for number, variable in enumerate(layer.weights):
            values = np.random.default_rng(number).uniform(0.5, 2, variable.shape)
            variable.assign(values)
        call = torch_gradients if layer.trainable else lambda *a, training: []
        found = call(layer, x, training=training)
        outputs = layer(x, training=training)
        return [*found, outputs, *(v.value for v in layer.weights)]

    assert_close(both(results), TOLERANCE[policy])


def test_a_single_value_per_channel_has_no_variance():
    layer = keras.layers.BatchNormalization()
    layer.build((1, 3))
    x = ops.convert_to_tensor(np.array([[1.0, 2.0, 3.0]], "float32"))
    assert_close(both(lambda: [layer(x, training=True)]), 1e-6)


def test_masks_and_renormalization_run_keras_code():
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    mask = np.array([[True, False, True], [True, True, False]])

    def results():
        renorm = keras.layers.BatchNormalization(renorm=True)
        masked = keras.layers.BatchNormalization()
        return [renorm(x, training=True), masked(x, training=True, mask=mask)]

    assert_close(both(results), 1e-6)


def test_kernels_keep_their_shape_and_values_in_another_layout():
    import torch

    layer = keras.layers.Conv2D(5, 3)
    x = np.zeros((1, 6, 6, 4), "float32")
    layer.build(x.shape)
    before = backend.to_numpy(layer.kernel.value).copy()
    with fast_layers():
        layer(x)
    stored = layer.kernel.value
    assert stored.permute(3, 2, 0, 1).is_contiguous(memory_format=torch.channels_last)
    assert not stored.is_contiguous()
    np.testing.assert_array_equal(backend.to_numpy(stored), before)
    layer.kernel.assign(before + 1)
    assert not layer.kernel.value.is_contiguous(), "the layout must last"
