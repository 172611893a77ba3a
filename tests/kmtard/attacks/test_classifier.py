"""Any Keras model becomes float32 images to float32 logits."""

from __future__ import annotations

import gc
import warnings
import weakref

import keras
import numpy as np
import pytest
from keras import layers, ops

from kmtard.attacks import PGD, fgsm
from kmtard.attacks.classifier import Classifier

SHAPE = (4, 4, 3)


class Own(keras.Model):
    """A subclassed model, which hides its last layers."""

    def __init__(self, units=5, activation=None):
        super().__init__()
        self.flatten, self.head = layers.Flatten(), layers.Dense(units, activation)

    def call(self, images):
        return self.head(self.flatten(images))


class Signed(Own):
    """A model with a Python attribute that counts."""

    sign = 1

    def call(self, images):
        return self.sign * super().call(images)


class Counted(keras.Model):
    """A model that counts how often Python runs through it."""

    def __init__(self):
        super().__init__()
        self.flatten, self.head = layers.Flatten(), layers.Dense(5)
        self.traces = 0

    def call(self, images, training=None):
        assert training is False
        self.traces += 1
        return self.head(self.flatten(images))


def net(*head, dtype=None):
    model = keras.Sequential(
        [layers.Input(SHAPE), layers.Conv2D(3, 3, dtype=dtype), layers.Flatten(), *head]
    )
    draw = np.random.default_rng(1)
    for weights in model.weights:
        weights.assign(0.5 * draw.standard_normal(weights.shape))
    return model


@pytest.fixture
def images():
    return np.random.default_rng(0).random((6, *SHAPE), "float32")


def logits(model, images):
    x = ops.convert_to_tensor(images)
    classifier = Classifier(model, images)
    classifier.inspect(x)
    outputs = classifier.logits(x)
    assert keras.backend.standardize_dtype(outputs.dtype) == "float32"
    return ops.convert_to_numpy(outputs)


def twins(*heads):
    """Return models of equal weights with these ends."""
    models = [net(*head) for head in heads]
    for model in models[1:]:
        model.set_weights(models[0].get_weights())
    return models


def same_up_to_a_shift(first, second, atol=1e-5):
    first, second = (z - z.mean(axis=1, keepdims=True) for z in (first, second))
    np.testing.assert_allclose(first, second, atol=atol, rtol=1e-5)


@pytest.mark.parametrize(
    "head",
    [
        [layers.Dense(5, "softmax")],
        [layers.Dense(5), layers.Activation("softmax")],
        [layers.Dense(5), layers.Softmax()],
    ],
    ids=["Dense", "Activation", "Softmax"],
)
def test_softmax_is_undone_with_a_warning(head, images):
    plain, softmax = twins([layers.Dense(5)], head)
    before = ops.convert_to_numpy(softmax(images))
    with pytest.warns(UserWarning, match="need logits"):
        found = logits(softmax, images)
    atol = 1e-5 if not isinstance(head[-1], layers.Softmax) else 1e-3
    same_up_to_a_shift(found, logits(plain, images), atol)
    np.testing.assert_array_equal(ops.convert_to_numpy(softmax(images)), before)


def test_softmax_of_a_nested_model_is_left_out(images):
    plain, inner = twins([layers.Dense(5)], [layers.Dense(5, "softmax")])
    outer = keras.Sequential([layers.Input(SHAPE), inner])
    with pytest.warns(UserWarning, match="softmax, is skipped"):
        found = logits(outer, images)
    same_up_to_a_shift(found, logits(plain, images))


def test_probabilities_of_a_subclassed_model_are_seen(images):
    model = Own(activation="softmax")
    with pytest.warns(UserWarning, match="logarithm"):
        found = logits(model, images)
    np.testing.assert_allclose(np.exp(found), ops.convert_to_numpy(model(images)), 1e-4)


@pytest.mark.parametrize("activation", [None, "sigmoid"])
def test_single_output_becomes_two_logits(activation, images):
    model = net(layers.Dense(1, activation))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = logits(model, images)
    assert found.shape == (len(images), 2)
    assert not found[:, 0].any()
    outputs = ops.convert_to_numpy(model(images))[:, 0]
    wanted = np.log(outputs) - np.log1p(-outputs) if activation else outputs
    np.testing.assert_allclose(found[:, 1], wanted, rtol=1e-3, atol=1e-3)


def test_single_output_of_unknown_meaning_is_refused(images):
    with pytest.raises(ValueError, match="one output.*Dense"):
        Classifier(Own(units=1), images)


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16", "float16"])
def test_half_precision_ends_in_float32(dtype, images):
    model = net(layers.Dense(5, dtype=dtype), dtype=dtype)
    plain = net(layers.Dense(5))
    plain.set_weights(model.get_weights())
    np.testing.assert_allclose(
        logits(model, images), logits(plain, images), rtol=0.05, atol=0.3
    )


def test_subclassed_model_needs_an_example(images):
    with pytest.raises(ValueError, match="The output shape of the model .* is unknown"):
        Classifier(Own())
    assert Classifier(Own(units=7), images[:1]).num_classes == 7


@pytest.mark.parametrize(
    "end", [[], [layers.Flatten(), layers.Reshape((8, 1))]], ids=["four", "three"]
)
def test_output_of_another_shape_is_refused(end, images):
    model = keras.Sequential([layers.Input(SHAPE), layers.Conv2D(2, 3), *end])
    with pytest.raises(ValueError, match="one output.*Flatten"):
        Classifier(model, images)


def test_several_outputs_are_refused(images):
    inputs = layers.Input(SHAPE)
    flat = layers.Flatten()(inputs)
    model = keras.Model(inputs, [layers.Dense(2)(flat), layers.Dense(2)(flat)])
    with pytest.raises(ValueError, match=r"one output.*model.outputs\[0\]"):
        Classifier(model, images)


def test_what_is_no_model_is_refused():
    with pytest.raises(TypeError, match="Keras model.*Received: dict"):
        Classifier.of({})


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_must_be_finite(bad, images):
    model = net(layers.Dense(5))
    model.layers[-1].bias.assign([0, 0, bad, 0, 0])
    with pytest.raises(ValueError, match="finite.*6 of 6 images"):
        Classifier(model).predict(ops.convert_to_tensor(images))


@pytest.mark.parametrize("channels_last", [True, False])
def test_channels_are_where_the_layers_say(channels_last):
    data_format = "channels_last" if channels_last else "channels_first"
    pool = layers.GlobalAveragePooling2D(data_format=data_format)
    model = keras.Sequential([layers.Input(SHAPE), pool, layers.Dense(2)])
    assert Classifier(model).channels_last is channels_last
    assert Classifier(model, channels_last=True).channels_last is True


def test_first_class_wins_a_tie(images):
    model = net(layers.Dense(4, kernel_initializer="zeros"))
    model.layers[-1].set_weights([0 * model.layers[-1].kernel, np.array([0, 1, 1, 0])])
    assert not (Classifier(model).predict(ops.convert_to_tensor(images)) - 1).any()


def test_python_runs_once_a_shape(images):
    model = Counted()
    classifier = Classifier.of(model, images)
    if keras.backend.backend() == "torch":
        pytest.skip("torch is not compiled")
    before = model.traces
    for rows in (2, 2, 3, 3, 2):
        classifier.predict(ops.convert_to_tensor(images[:rows]))
    assert model.traces == before + 2
    assert Classifier.of(classifier) is classifier


def test_loop_counts_its_steps(images):
    classifier = Classifier(net(layers.Dense(5)))
    x = ops.convert_to_tensor(images)

    def step(state, x, rate):
        u, total = state
        return u + rate, total + ops.sum(classifier.logits(x))

    once = ops.convert_to_numpy(classifier.logits(x)).sum()
    for steps in (0, 1, 7):
        rate = ops.convert_to_tensor(0.5)
        zero = ops.convert_to_tensor(0.0)
        u, total = classifier.loop("count", step, (x, zero), steps, (x, rate))
        np.testing.assert_allclose(ops.convert_to_numpy(u - x), 0.5 * steps, atol=1e-6)
        assert float(total) == pytest.approx(steps * once, rel=1e-4)


def test_host_loop_equals_the_compiled_one(images, monkeypatch):
    classifier = Classifier(net(layers.Dense(5)))
    x = ops.convert_to_tensor(images)

    def step(u):
        return u - 0.1 * ops.mean(classifier.logits(u))

    results = []
    for on_cpu in (True, False):
        monkeypatch.setattr("kmtard.backend.on_cpu", lambda answer=on_cpu: answer)
        results.append(ops.convert_to_numpy(classifier.loop("mean", step, x, 3)))
    np.testing.assert_allclose(*results, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("build", [Own, lambda: net(layers.Dense(5, "softmax"))])
@pytest.mark.filterwarnings("ignore:Attacks need logits")
def test_model_is_not_kept_alive(build, images):
    """Not by what was compiled for an attack either."""
    model = build()
    fgsm()(model, images, np.zeros(len(images), int))
    reference = weakref.ref(model)
    del model
    gc.collect()
    assert reference() is None


def accuracy_under(model, images, labels):
    return 1 - fgsm(epsilon=0.01).run(model, images, labels).success.mean()


def test_changed_layers_are_seen(images):
    model = net(layers.Dense(5))
    labels = ops.convert_to_numpy(model(images)).argmax(axis=1)
    clean = PGD(steps=0, start="clean")
    assert not clean.run(model, images, labels).success.any()
    model.pop()
    model.add(layers.Dense(5, kernel_initializer="zeros", bias_initializer="ones"))
    assert clean.run(model, images, labels).predictions.tolist() == [0] * 6


def test_popped_softmax_is_seen(images):
    """An attack on what was left out would overstate robustness."""
    plain, model = twins([layers.Dense(5)], [layers.Dense(5), layers.Softmax()])
    labels = ops.convert_to_numpy(plain(images)).argmax(axis=1)
    with pytest.warns(UserWarning, match="need logits"):
        accuracy_under(model, images, labels)
    model.pop()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Attacks need logits")
        found = accuracy_under(model, images, labels)
    assert found == accuracy_under(plain, images, labels)


def test_changed_attribute_is_seen(images):
    model = Signed()
    labels = ops.convert_to_numpy(model(images)).argmax(axis=1)
    clean = PGD(steps=0, start="clean")
    assert not clean.run(model, images, labels).success.any()
    model.sign = -1
    assert clean.run(model, images, labels).success.all()


@pytest.mark.parametrize("end", [layers.Softmax, lambda: layers.Activation("softmax")])
@pytest.mark.filterwarnings("ignore:Attacks need logits")
def test_model_is_never_changed(end, images):
    """A model in use by another thread computes what it always did."""
    model = net(layers.Dense(5), end())
    before = ops.convert_to_numpy(model(images))
    config, layer = model.get_config(), model.layers[-1]
    nodes = len(layer._inbound_nodes)
    seen = []

    class Watching(Classifier):
        def logits(self, images):
            seen.append(ops.convert_to_numpy(model(start)))
            return super().logits(images)

    start = ops.convert_to_tensor(images)
    Watching(model).logits(start)
    np.testing.assert_array_equal(seen[0], before)
    fgsm()(model, images, np.zeros(len(images), int))
    assert model.get_config() == config
    assert len(layer._inbound_nodes) == nodes


def test_own_call_of_a_functional_model_counts(images):
    """Its graph ends in a softmax, and its `call` does something else."""

    class Negated(keras.Model):
        def call(self, images, training=None):
            return -100.0 * super().call(images, training=training)

    inputs = layers.Input(SHAPE)
    outputs = layers.Dense(5, "softmax")(layers.Flatten()(inputs))
    model = Negated(inputs, outputs)
    found = logits(model, images)
    np.testing.assert_allclose(found, ops.convert_to_numpy(model(images)), rtol=1e-5)


def test_low_rank_update_of_a_dense_layer_counts(images):
    model = net(layers.Dense(5, "softmax"))
    model.layers[-1].enable_lora(2)
    model.layers[-1].lora_kernel_b.assign(np.ones((2, 5)) * np.arange(5))
    with pytest.warns(UserWarning, match="logarithm"):
        found = logits(model, images)
    np.testing.assert_allclose(np.exp(found), ops.convert_to_numpy(model(images)), 1e-4)
