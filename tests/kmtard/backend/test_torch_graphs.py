"""On torch, networks that are called directly compute what Keras computes."""

import keras
import numpy as np
import pytest
from keras import ops

from kmtard import backend, networks
from kmtard.attacks import PGD
from kmtard.backend.fast_layers import fast_layers
from kmtard.methods import TRADES
from kmtard.methods.addition import Addition
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


def sines(network, x):
    """Logits and values per image."""
    import torch

    logits = network(x, training=False)
    factors = torch.arange(1.0, 1 + logits.shape[1])
    return logits, (logits * factors).sin().sum(-1)


def of_images(network, x):
    """Logits, values and gradients with respect to the images."""

    def function(u):
        logits, values = sines(network, u)
        return values, logits

    values, logits, gradient = backend.value_and_gradient(function, x)
    return [logits, values, gradient]


def of_weights(network, x):
    """Gradients with respect to the weights, in inference mode."""
    import torch

    weights = [each.value for each in network.trainable_variables]
    return torch.autograd.grad(sines(network, x)[1].sum(), weights)


def with_statistics(network, seed=2):
    """Set BatchNorm's statistics and factors to values that matter."""
    rng = np.random.default_rng(seed)
    for layer in network._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            for variable in layer.weights:
                variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    return network


def with_biases():
    images = keras.Input((6, 6, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same")(images)
    x = keras.layers.BatchNormalization(center=False)(x)
    x = keras.layers.ReLU()(keras.layers.ReLU()(x))
    y = keras.layers.Conv2D(4, 1)(x)
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    x = keras.layers.BatchNormalization(scale=False)(x)
    x = keras.layers.ReLU()(keras.layers.Add()([x, y]))
    x = keras.layers.ReLU(max_value=2.0)(keras.layers.BatchNormalization()(x))
    return keras.Model(images, keras.layers.Dense(5)(keras.layers.Flatten()(x)))


def channels_first():
    images = keras.Input((6, 6, 3))
    x = keras.layers.Permute((3, 1, 2))(images)
    x = keras.layers.Conv2D(4, 3, data_format="channels_first")(x)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization(axis=1)(x))
    x = keras.layers.ReLU()(keras.layers.Conv2D(2, 1, data_format="channels_first")(x))
    return keras.Model(images, keras.layers.Dense(5)(keras.layers.Flatten()(x)))


def first_inside():
    """A channels-first convolution in a graph whose layers are all simple."""
    images = keras.Input((6, 6, 3))
    x = keras.layers.Conv2D(6, 3, data_format="channels_first")(images)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    return keras.Model(images, keras.layers.Dense(5)(keras.layers.Flatten()(x)))


CONSTANT = {
    **NETWORKS,
    **{f.__name__: f for f in (with_biases, channels_first, first_inside)},
}


@pytest.mark.parametrize("name", sorted(CONSTANT))
def test_networks_of_constant_weights(name):
    """BatchNorm becomes part of the kernels, in an attack and in a prediction."""
    import torch

    keras.utils.set_random_seed(1)
    network = with_statistics(CONSTANT[name]())
    x = torch.tensor(np.random.default_rng(0).random((32, 6, 6, 3), "float32"))
    kept = of_images(network, x)
    tolerance = TOLERANCE["mixed_bfloat16" if name == "in_bfloat16" else "float32"]

    def agrees():
        with fast_layers():
            found = of_images(network, x)
            with torch.no_grad():
                found.append(network(x, training=False))
        for theirs, ours in zip([*kept, kept[0]], found, strict=True):
            theirs, ours = backend.to_numpy(theirs), backend.to_numpy(ours)
            bound = 100 * tolerance * max(1, abs(theirs).max())
            np.testing.assert_allclose(ours, theirs, rtol=100 * tolerance, atol=bound)

    agrees()
    with backend.keep_derived():
        agrees()
        agrees()


def test_weights_get_their_gradients_in_inference():
    import torch

    network, x = with_statistics(NETWORKS["small_cnn"]()), torch.rand(4, 6, 6, 3)
    with backend.keep_derived():
        assert_close(both(of_weights, network, x), 1e-4)


@pytest.fixture
def foldings(monkeypatch):
    """One entry for each BatchNorm that became part of a kernel."""
    import torch

    found, rsqrt = [], torch.rsqrt
    monkeypatch.setattr(torch, "rsqrt", lambda x: found.append(1) or rsqrt(x))
    return found


def test_kernels_with_batch_norm_are_kept_until_the_block_ends(foldings):
    import torch

    network, x = NETWORKS["small_cnn"](), torch.rand(4, 6, 6, 3)
    with backend.keep_derived():
        for _ in range(3):
            both(of_images, network, x)
    assert len(foldings) == 3
    both(of_images, network, x)
    assert len(foldings) == 6


@pytest.mark.parametrize("name", ["small_cnn", "wide"])
def test_what_is_kept_follows_the_weights(name):
    import torch

    network, x = with_statistics(NETWORKS[name]()), torch.rand(4, 6, 6, 3)
    layers = network._flatten_layers(include_self=False)
    kernels = [each.kernel for each in layers if isinstance(each, keras.layers.Conv2D)]
    with backend.keep_derived():
        first = both(of_images, network, x)
        with_statistics(network, seed=5)
        second = both(of_images, network, x)
        kernels[1].assign(-kernels[1])
        third = both(of_images, network, x)
    # PyTorch does not count this change.
    kernels[1].value.data.neg_()
    with backend.keep_derived():
        fourth = both(of_images, network, x)
    for pairs in (first, second, third, fourth):
        assert_close(pairs, 1e-3)
    assert abs(third[1][0] - second[1][0]).max() > 1e-3
    np.testing.assert_allclose(fourth[1][0], second[1][0], rtol=1e-4)


@pytest.mark.parametrize("change", ["slope", "activation"])
def test_layers_that_the_user_changes_are_computed_as_they_are(change):
    import torch

    network, x = with_statistics(NETWORKS["small_cnn"]()), torch.rand(4, 6, 6, 3)
    _, convolution, _, relu, *_ = network.layers
    both(of_images, network, x)
    if change == "slope":
        relu.negative_slope = 0.5
    else:
        convolution.activation = keras.activations.sigmoid
    with backend.keep_derived():
        assert_close(both(of_images, network, x), 1e-4)


def test_weights_of_a_stateless_call_are_used():
    import torch

    network, x = with_statistics(NETWORKS["small_cnn"]()), torch.rand(4, 6, 6, 3)
    weights = [each.value * 1.3 for each in network.trainable_variables]
    state = [each.value for each in network.non_trainable_variables]

    def stateless():
        with torch.no_grad(), backend.keep_derived():
            network(x, training=False)
            return [network.stateless_call(weights, state, x, training=False)[0]]

    pairs = both(stateless)
    assert_close(pairs, 1e-4)
    assert abs(pairs[0][0] - network(x)).max() > 1e-2


def test_weights_of_inference_mode_are_not_kept():
    import torch

    with torch.inference_mode():
        network, x = with_statistics(NETWORKS["small_cnn"]()), torch.rand(4, 6, 6, 3)
        with backend.keep_derived():
            assert_close(both(lambda: [network(x, training=False)]), 1e-4)


class Doubled(Addition):
    """Doubles kernels in a way that PyTorch does not count, and runs the student."""

    def before_gradient(self, model, batch):
        import torch

        for layer in model.student.layers:
            if isinstance(layer, keras.layers.Conv2D):
                layer.kernel.value.data.mul_(2.0)
        with torch.no_grad():
            self.logits = model.student(batch.x_nat, training=False)


def trades(network, **options):
    attack = PGD(8 / 255, steps=3, start="clean")
    model = TRADES(network, attack=attack, **options)
    model.compile("sgd")
    return model


def test_additions_see_the_weights_that_they_changed():
    import torch

    network, x = with_statistics(NETWORKS["small_cnn"]()), torch.rand(4, 6, 6, 3)
    addition = Doubled()
    model = trades(network, additions=[addition])
    with fast_layers():
        model.attacked((x, torch.arange(4)), training=True)
    np.testing.assert_allclose(
        addition.logits, network(x, training=False).detach(), rtol=1e-4, atol=1e-5
    )


def test_the_divergence_from_the_same_image_has_no_gradient():
    """The logits that the attack compares with are rounded like its own."""
    import torch

    network, x = with_statistics(NETWORKS["small_cnn"]()), torch.rand(4, 6, 6, 3)
    with fast_layers():
        inputs, *_ = trades(network).attacked((x, torch.arange(4)), training=True)
    np.testing.assert_array_equal(inputs[1], inputs[0])


def test_layers_with_hooks_are_called_for_constant_weights():
    """A hook's tensor is not overwritten by the ReLU after the layer."""
    import torch

    network, x = NETWORKS["small_cnn"](), torch.rand(4, 6, 6, 3)
    norm = next(
        layer
        for layer in network.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    )
    seen = []
    norm.register_forward_hook(lambda layer, inputs, outputs: seen.append(outputs))
    with backend.keep_derived():
        assert_close(both(of_images, network, x), 1e-4)
    assert len(seen) == 2 and all((each < 0).any() for each in seen)


def test_masks_reach_the_layers_behind():
    images = keras.Input((4, 3))
    x = keras.layers.BatchNormalization()(keras.layers.Masking()(images))
    network = keras.Model(images, keras.layers.GlobalAveragePooling1D()(x))
    x = np.random.default_rng(0).random((2, 4, 3), "float32")
    x[:, 2:] = 0.0
    tensor = ops.convert_to_tensor(x)
    assert_close(both(lambda: [network(tensor, training=True)]), 1e-5)
