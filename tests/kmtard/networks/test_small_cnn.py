"""Tests of kmtard.networks.small_cnn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest

from kmtard.networks.small_cnn import small_cnn


@pytest.fixture(autouse=True)
def _keep_dtype_policy() -> Iterator[None]:
    policy = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(policy)


@pytest.mark.parametrize(
    ("input_shape", "width"), [((8, 8, 1), 16), ((32, 32, 3), 16), ((7, 5, 2), 4)]
)
def test_shape_and_parameters(input_shape: tuple[int, int, int], width: int) -> None:
    model = small_cnn(10, input_shape, width=width)
    height, breadth, channels = input_shape
    features = -(-height // 2) * -(-breadth // 2) * 2 * width
    kernels = 9 * width * (channels + 2 * width + 4 * width)
    normalisation = 4 * (width + 2 * width + 2 * width)
    assert model.output_shape == (None, 10)
    assert model.count_params() == kernels + normalisation + features * 10 + 10


def test_outputs_are_logits() -> None:
    keras.utils.set_random_seed(0)
    model = small_cnn(3, (8, 8, 1))
    images = np.random.RandomState(0).rand(16, 8, 8, 1).astype("float32")
    small = keras.ops.convert_to_numpy(model(images))
    dense = model.layers[-1]
    dense.bias.assign(dense.bias * 100)
    dense.kernel.assign(dense.kernel * 100)
    large = keras.ops.convert_to_numpy(model(images))
    assert small.min() < 0
    np.testing.assert_allclose(large, 100 * small, rtol=1e-4, atol=1e-4)


def test_kernels_start_as_in_pytorch() -> None:
    keras.utils.set_random_seed(0)
    model = small_cnn(10, (8, 8, 1))
    weighted = keras.layers.Conv2D | keras.layers.Dense
    for layer in (layer for layer in model.layers if isinstance(layer, weighted)):
        kernel = keras.ops.convert_to_numpy(layer.kernel)
        bound = np.prod(kernel.shape[:-1]) ** -0.5
        assert 0.95 * bound < np.abs(kernel).max() <= bound
        if layer.bias is not None:
            bias = np.abs(keras.ops.convert_to_numpy(layer.bias))
            assert 0.5 * bound < bias.max() <= bound


def test_strided_convolution_pads_the_near_sides_too() -> None:
    model = small_cnn(2, (4, 4, 1), width=1)
    strided = next(x for x in model.layers if getattr(x, "strides", 0) == (2, 2))
    strided.kernel.assign(np.ones(strided.kernel.shape))
    before = next(x for x in model.layers if isinstance(x, keras.layers.ZeroPadding2D))
    sums = keras.Model(before.input, strided.output)(np.ones((1, 4, 4, 1)))
    assert keras.ops.convert_to_numpy(sums)[0, :, :, 0].tolist() == [[4, 6], [6, 9]]


@pytest.mark.filterwarnings("ignore:Explicitly requested dtype float64")
@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("float32", "float32"),
        ("mixed_bfloat16", "float32"),
        ("float64", "float64"),
    ],
)
def test_dtype_of_logits(policy: str, expected: str) -> None:
    keras.config.set_dtype_policy(policy)
    model = small_cnn(10, (8, 8, 1), width=2)
    convolution = next(x for x in model.layers if isinstance(x, keras.layers.Conv2D))
    assert convolution.compute_dtype == policy.removeprefix("mixed_")
    assert model.output.dtype == expected


def test_equal_seeds_make_equal_networks() -> None:
    def build(seed: int) -> list[Any]:
        keras.utils.set_random_seed(seed)
        return small_cnn(10, (8, 8, 1)).get_weights()

    first, again, other = build(1), build(1), build(2)
    assert all(map(np.array_equal, first, again))
    assert not all(map(np.array_equal, first, other))


def test_two_networks_fit_into_one_model() -> None:
    images = keras.Input((8, 8, 1))
    outputs = [small_cnn(10, (8, 8, 1), width=2)(images) for _ in range(2)]
    assert keras.Model(images, outputs).count_params() > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 1}, "num_classes` must be at least 2. Received: 1"),
        ({"input_shape": (8, 8)}, r"height, width, channels.*\(8, 8\)"),
        ({"input_shape": (8, 0, 1)}, r"positive int.*\(8, 0, 1\)"),
        ({"input_shape": (None, 8, 1)}, r"positive int.*\(None, 8, 1\)"),
        ({"width": 0}, "width` must be a whole number >= 1, <= 4096. Received: 0"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    valid: dict[str, Any] = {"num_classes": 10, "input_shape": (8, 8, 1)}
    with pytest.raises(ValueError, match=message):
        small_cnn(**(valid | arguments))
