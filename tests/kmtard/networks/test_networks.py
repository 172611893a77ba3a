"""The networks have the published sizes and start as the published codes do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from kmtard.networks.blocks import convolution
from kmtard.networks.mobilenet_v2 import mobilenet_v2
from kmtard.networks.preact_resnet import preact_resnet18, preact_resnet34
from kmtard.networks.resnet import resnet18, resnet56
from kmtard.networks.small_cnn import small_cnn
from kmtard.networks.standardization import (
    DATA_SETS,
    NAMES,
    Standardization,
    body_of,
)
from kmtard.networks.wide_resnet import (
    deepmind_wide_resnet,
    trades_wide_resnet,
    wide_resnet_22_6,
    wide_resnet_28_10,
    wide_resnet_34_10,
    wide_resnet_70_16,
)

pytestmark = pytest.mark.once("torch")

SHAPE = (32, 32, 3)
# Parameters for 10, 100 and 200 classes, moving values, trainable arrays.
SIZES = {
    resnet18: ((11173962, 11220132, 11271432), 9600, 62),
    mobilenet_v2: ((2296922, 2412212, 2540312), 35088, 173),
    preact_resnet18: ((11172170, 11218340, 11269640), 7808, 56),
    preact_resnet34: ((21280330, 21326500, 21377800), 15232, 104),
    resnet56: ((855770, 861620, 868120), 4256, 173),
    wide_resnet_34_10: ((46160474, 46218164, 46282264), 22432, 98),
    wide_resnet_22_6: ((9658458, 9693108, 9731608), 8096, 62),
    wide_resnet_70_16: ((266796506, 266888756, 266991256), 78880, 206),
    wide_resnet_28_10: ((36479194, 36536884, 36600984), 17952, 80),
}
SMALL = [resnet18, resnet56, mobilenet_v2, preact_resnet18]


def trades(num_classes: int, input_shape: Any, **kwargs: Any) -> keras.Model:
    return trades_wide_resnet(num_classes, input_shape, depth=10, width=2, **kwargs)


def deepmind(num_classes: int, input_shape: Any, **kwargs: Any) -> keras.Model:
    return deepmind_wide_resnet(num_classes, input_shape, depth=10, width=2, **kwargs)


@pytest.fixture
def zero_kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Kernels of 0 in two bytes, for networks of which only the size counts."""
    monkeypatch.setattr(
        keras.initializers.VarianceScaling,
        "__call__",
        lambda self, shape, dtype=None: keras.ops.zeros(shape, dtype),
    )
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("bfloat16")
    yield
    keras.config.set_dtype_policy(policy)


def values(variables: list[Any]) -> int:
    return sum(int(np.prod(variable.shape)) for variable in variables)


@pytest.mark.usefixtures("zero_kernels")
@pytest.mark.parametrize("build", SIZES, ids=lambda build: build.__name__)
def test_sizes(build: Any) -> None:
    network = build(10, SHAPE)
    parameters, moving, arrays = SIZES[build]
    assert values(network.trainable_variables) == parameters[0]
    assert values(network.non_trainable_variables) == moving
    assert len(network.trainable_variables) == arrays
    assert network.output_shape == (None, 10)
    # An activation after the logits would have no parameters to be counted.
    head = network.layers[-1]
    assert isinstance(head, layers.Dense)
    # Building the largest takes seconds; more classes only widen its last layer.
    a_class = values(head.trainable_variables) // 10
    assert [parameters[0] + more * a_class for more in (90, 190)] == [*parameters[1:]]


@pytest.mark.usefixtures("zero_kernels")
@pytest.mark.parametrize("build", SMALL, ids=lambda build: build.__name__)
@pytest.mark.parametrize(("column", "classes"), [(1, 100), (2, 200)])
def test_sizes_with_more_classes(build: Any, column: int, classes: int) -> None:
    network = build(classes, SHAPE)
    assert values(network.trainable_variables) == SIZES[build][0][column]
    assert network.output_shape == (None, classes)


def tensor(variable: Any) -> np.ndarray:
    return keras.ops.convert_to_numpy(variable)


def of_type(network: keras.Model, kind: Any) -> list[Any]:
    return [layer for layer in network.layers if isinstance(layer, kind)]


def assert_uniform(array: np.ndarray, bound: float) -> None:
    # float32 may round the bound itself up.
    assert np.abs(array).max() <= bound * (1 + 1e-6)
    if array.size >= 250:
        # The spread of a sample of n is off by about 0.6 / sqrt(n).
        np.testing.assert_allclose(
            array.std(), bound / 3**0.5, rtol=3 * array.size**-0.5
        )
        assert np.abs(array).max() > 0.95 * bound


@pytest.mark.parametrize("build", [resnet18, mobilenet_v2, preact_resnet18, deepmind])
def test_kernels_start_as_in_pytorch(build: Any) -> None:
    network = build(100, SHAPE)
    for layer in of_type(network, layers.Conv2D | layers.Dense):
        kernel = tensor(layer.kernel)
        assert_uniform(kernel, np.prod(kernel.shape[:-1]) ** -0.5)
    for layer in of_type(network, layers.DepthwiseConv2D):
        assert_uniform(tensor(layer.kernel), 1 / 3)
    (head,) = of_type(network, layers.Dense)
    assert tensor(head.bias).any()
    assert_uniform(tensor(head.bias), head.kernel.shape[0] ** -0.5)


@pytest.mark.parametrize("build", [resnet56, trades])
def test_kernels_start_from_he_normal(build: Any) -> None:
    network = build(100, SHAPE)
    for layer in of_type(network, layers.Conv2D):
        kernel = tensor(layer.kernel)
        height, width, _, outputs = kernel.shape
        scaled = kernel / (2 / (height * width * outputs)) ** 0.5
        np.testing.assert_allclose(scaled.std(), 1, rtol=4 * kernel.size**-0.5)
        # Keras's truncated normal ends at 2.28.
        assert kernel.size < 2000 or np.abs(scaled).max() > 2.5
    (head,) = of_type(network, layers.Dense)
    assert_uniform(tensor(head.kernel), head.kernel.shape[0] ** -0.5)
    assert tensor(head.bias).any() == (build is resnet56)


@pytest.mark.parametrize("build", [*SMALL, trades, deepmind])
def test_layers_are_as_in_pytorch(build: Any) -> None:
    network = build(10, SHAPE)
    for layer in of_type(network, layers.BatchNormalization):
        assert (layer.epsilon, layer.momentum) == (1e-5, 0.9)
        assert (tensor(layer.gamma) == 1).all() and not tensor(layer.beta).any()
    convolutions = of_type(network, layers.Conv2D | layers.DepthwiseConv2D)
    assert not any(layer.use_bias for layer in convolutions)
    # Three halvings, or two, leave a map of 4 or 8 before the pooling.
    (pooling,) = of_type(network, layers.GlobalAveragePooling2D)
    size = 8 if build in (resnet56, trades, deepmind) else 4
    assert pooling.input.shape[1:3] == (size, size)


@pytest.mark.parametrize("far", [False, True])
def test_strided_convolutions_pad_as_their_code(far: bool) -> None:
    x = keras.Input((4, 4, 1))
    network = keras.Model(x, convolution(x, 1, strides=2, far_padding=far))
    of_type(network, layers.Conv2D)[0].kernel.assign(np.ones((3, 3, 1, 1)))
    sums = tensor(network(np.ones((1, 4, 4, 1))))[0, :, :, 0]
    assert sums.tolist() == ([[9, 6], [6, 4]] if far else [[4, 6], [6, 9]])


@pytest.mark.parametrize("build", SMALL)
def test_weights_do_not_depend_on_the_image_size(build: Any) -> None:
    first, second = build(10, SHAPE), build(10, (64, 64, 3))
    second.set_weights(first.get_weights())
    assert second.output_shape == first.output_shape == (None, 10)


@pytest.mark.parametrize(
    "build",
    [resnet18, resnet56, mobilenet_v2, preact_resnet18, small_cnn, trades, deepmind],
)
def test_constants_standardize_the_images(build: Any) -> None:
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 2.0)
    plain, inside = build(10, SHAPE), build(10, SHAPE, mean=mean, std=std)
    inside.set_weights(plain.get_weights())
    images = np.random.RandomState(0).rand(2, *SHAPE).astype("float32")
    standardized = (images - np.float32(mean)) / np.float32(std)
    np.testing.assert_allclose(
        tensor(inside(images)), tensor(plain(standardized)), atol=1e-5
    )


@pytest.mark.usefixtures("zero_kernels")
@pytest.mark.parametrize(
    ("build", "classes", "expected"),
    [
        (wide_resnet_22_6, 10, "cifar10"),
        # As MTARD's code has it.
        (wide_resnet_22_6, 100, "cifar10"),
        (wide_resnet_70_16, 10, "cifar10"),
        (wide_resnet_70_16, 100, "cifar100"),
    ],
)
def test_default_constants(build: Any, classes: int, expected: str) -> None:
    body = body_of(build(classes, SHAPE))
    assert body.standardization == DATA_SETS[expected]
    assert not body.wrapped


@pytest.mark.parametrize("build", [*SMALL, small_cnn, trades, deepmind])
def test_other_networks_have_no_constants_by_default(build: Any) -> None:
    assert not of_type(build(10, SHAPE), layers.Rescaling)


@pytest.mark.parametrize("name", NAMES)
def test_names_stand_for_mean_and_std(name: str) -> None:
    half = Standardization((0.5,) * 3, (0.5,) * 3)
    expected = DATA_SETS.get(name, half)
    for given in ({"mean": name}, {"std": name}, {"mean": name, "std": name}):
        assert body_of(deepmind(10, SHAPE, **given)).standardization == expected
    grey = body_of(deepmind(10, (8, 8, 1), mean="2x-1")).standardization
    assert grey == Standardization((0.5,), (0.5,))


def test_a_saved_network_gives_the_same_logits(tmp_path: Any) -> None:
    network = deepmind(10, SHAPE, mean=(0.4,) * 3, std=(0.2,) * 3)
    network.save(tmp_path / "a.keras")
    network.save_weights(tmp_path / "a.weights.h5")
    fresh = deepmind(10, SHAPE, mean=(0.4,) * 3, std=(0.2,) * 3)
    fresh.load_weights(tmp_path / "a.weights.h5")
    images = np.random.RandomState(0).rand(2, *SHAPE).astype("float32")
    for other in (fresh, keras.models.load_model(tmp_path / "a.keras")):
        assert np.array_equal(tensor(other(images)), tensor(network(images)))


def test_two_networks_fit_into_one_model() -> None:
    images = keras.Input(SHAPE)
    outputs = [trades(10, SHAPE)(images) for _ in range(2)]
    assert keras.Model(images, outputs).count_params() > 0


@pytest.mark.parametrize(
    ("build", "shape", "options", "message"),
    [
        (resnet18, (32, 32), {}, r"`input_shape`.*Received: \(32, 32\)"),
        (deepmind, (8, 8, 0), {}, "`input_shape` must be"),
        (wide_resnet_70_16, (8, 8, 1), {}, r"1 values, one per channel.*mean=\(0.4914"),
        (deepmind, (8, 8, 1), {"mean": (0.5,)}, r"mean=\(0.5,\), std=\(\)"),
        (deepmind, (8, 8, 1), {"mean": (0.5,), "std": (0.0,)}, "`std` must be .* > 0"),
        (deepmind, (8, 8, 1), {"mean": "cifar10"}, "1 values, one per channel"),
        (deepmind, SHAPE, {"mean": "cifar"}, "2x-1.* Received: 'cifar'"),
        (deepmind, SHAPE, {"mean": "cifar10", "std": "cifar100"}, "A name sets both"),
        (wide_resnet_22_6, SHAPE, {"mean": "cifar100"}, "A name sets both"),
        (trades_wide_resnet, SHAPE, {"depth": 12, "width": 1}, "Received: depth=12"),
        (trades_wide_resnet, SHAPE, {"depth": 10, "width": 0}, "width=0"),
        (trades_wide_resnet, SHAPE, {"depth": 4, "width": 1}, "10, 16, 22"),
    ],
)
def test_bad_arguments_are_refused(
    build: Any, shape: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        build(10, shape, **options)


@pytest.mark.parametrize("build", [resnet18, resnet56, mobilenet_v2, trades, deepmind])
def test_one_class_is_refused(build: Any) -> None:
    with pytest.raises(ValueError, match="`num_classes` must be at least 2"):
        build(1, SHAPE)


@pytest.fixture
def channels_first() -> Iterator[None]:
    """Keras set to channels first, as a user's keras.json may say."""
    keras.config.set_image_data_format("channels_first")
    yield
    keras.config.set_image_data_format("channels_last")


def small(num_classes: int, input_shape: Any) -> keras.Model:
    return small_cnn(num_classes, input_shape, width=4)


def standardized(num_classes: int, input_shape: Any) -> keras.Model:
    constants = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4)}
    return deepmind(num_classes, input_shape, **constants)


@pytest.mark.parametrize(
    "build",
    [small, resnet18, resnet56, mobilenet_v2, preact_resnet18, trades, standardized],
)
def test_images_are_channels_last_whatever_keras_is_set_to(
    build: Any, request: pytest.FixtureRequest
) -> None:
    shape = (12, 8, 3)
    x = np.random.default_rng(0).random((2, *shape), dtype="float32")
    keras.utils.set_random_seed(0)
    network = build(10, shape)
    wanted = keras.ops.convert_to_numpy(network(x, training=False))

    request.getfixturevalue("channels_first")
    again = build(10, shape)
    again.set_weights(network.get_weights())

    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(again(x, training=False)), wanted
    )
    formats = {getattr(layer, "data_format", None) for layer in again.layers}
    assert formats - {None} == {"channels_last"}
