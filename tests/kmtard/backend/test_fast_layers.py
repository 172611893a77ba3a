"""Faster layers compute what Keras's own layers compute."""

import os
import subprocess
import sys
import threading

import keras
import numpy as np
import pytest
from keras import ops

from kmtard import backend
from kmtard.backend.fast_layers import fast_layers
from tests.kmtard.backend.layers import TOLERANCE, assert_close, both

BACKEND = keras.backend.backend()
on_jax = pytest.mark.once("jax")


def gradients(layer, x):
    """The outputs, and the gradients of the images and of the kernel, under jit."""
    import jax

    def total(x, weights):
        outputs, _ = layer.stateless_call(weights, [], x)
        return ops.sum(ops.sin(outputs)), outputs

    weights = [v.value for v in layer.trainable_variables]
    run = jax.jit(jax.grad(total, (0, 1), has_aux=True))
    (dx, kernels), outputs = run(x, weights)
    return outputs, dx, *kernels


@on_jax
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(
    ("filters", "size", "strides", "shape"),
    [
        (5, 1, 1, (6, 6, 4)),
        (5, 1, 2, (7, 5, 3)),
        (5, 1, (1, 2), (4, 6, 3)),
        # Images with few channels.
        (5, 3, 1, (7, 5, 3)),
        (5, (3, 2), (2, 1), (6, 7, 1)),
        (40, 3, 2, (7, 6, 3)),
        (4, (5, 4), (1, 2), (8, 9, 2)),
    ],
)
def test_convolutions_and_their_gradients(
    filters, size, strides, shape, padding, policy
):
    layer = keras.layers.Conv2D(
        filters, size, strides=strides, padding=padding, use_bias=True, dtype=policy
    )
    x = np.random.default_rng(0).normal(size=(3, *shape)).astype("float32")
    layer.build(x.shape)
    assert_close(both(gradients, layer, ops.convert_to_tensor(x)), TOLERANCE[policy])


@on_jax
@pytest.mark.parametrize(
    "options", [{"groups": 2}, {"data_format": "channels_first"}, {"dilation_rate": 2}]
)
@pytest.mark.parametrize("size", [1, 2])
def test_options_of_convolutions(options, size):
    layer = keras.layers.Conv2D(4, size, **options)
    x = np.random.default_rng(1).normal(size=(2, 4, 4, 2)).astype("float32")
    layer.build(x.shape)
    assert_close(both(lambda: [layer(x)]), 1e-6)


def program(layer, channels=3):
    import jax

    # JAX keeps the program of a function that it knows.
    return str(jax.make_jaxpr(lambda x: layer(x))(np.ones((2, 4, 4, channels))))


@on_jax
def test_pointwise_convolutions_are_matrix_products_only_in_the_scope():
    layer = keras.layers.Conv2D(4, 1)
    layer.build((2, 4, 4, 3))
    kept, faster = both(lambda: program(layer))
    assert "conv_general_dilated" in kept
    assert "conv_general_dilated" not in faster and "dot_general" in faster


@on_jax
@pytest.mark.parametrize(("channels", "filters"), [(4, 8), (3, 40)])
def test_convolutions_that_xla_computes_fast_stay(channels, filters):
    layer = keras.layers.Conv2D(filters, 3)
    layer.build((2, 4, 4, channels))
    _, faster = both(lambda: program(layer, channels))
    assert "conv_general_dilated" in faster


@on_jax
def test_gradient_of_images_alone_computes_no_gradient_of_the_kernel():
    """Attacks need only this one."""
    import jax

    layer = keras.layers.Conv2D(4, 3)
    layer.build((2, 4, 4, 3))

    def gradient():
        total = jax.grad(lambda x: ops.sum(layer(x)))
        return str(jax.make_jaxpr(total)(np.ones((2, 4, 4, 3), "float32")))

    kept, faster = both(gradient)
    assert "conv_general_dilated" in kept
    assert "conv_general_dilated" not in faster


@on_jax
@pytest.mark.parametrize("size", [1, 3])
def test_transformations_of_jax(size):
    """Second derivatives, forward mode, vmap, checkpoints and loops all work."""
    import jax

    layer = keras.layers.Conv2D(2, size, strides=2)
    layer.build((1, 4, 4, 2))
    weights = [v.value for v in layer.trainable_variables]
    x = jax.random.normal(jax.random.key(0), (2, 1, 4, 4, 2))

    def results():
        def total(kernel, x):
            outputs, _ = layer.stateless_call([kernel, weights[1]], [], x)
            return ops.sum(ops.sin(outputs))

        one = jax.grad(total)
        _, scanned = jax.lax.scan(lambda c, x: (c, one(c, x)), weights[0], x)
        return [
            jax.grad(lambda k: ops.sum(one(k, x[0]) ** 2))(weights[0]),
            jax.hessian(total)(weights[0], x[0]),
            jax.vmap(one, (None, 0))(weights[0], x),
            jax.grad(jax.checkpoint(total))(weights[0], x[0]),
            scanned,
        ]

    assert_close(both(results), 1e-5)


@on_jax
def test_the_training_step_uses_matrix_products(monkeypatch):
    """A stride-2 shortcut in a user's network, trained and saved."""
    seen = []
    matmul = ops.matmul
    monkeypatch.setattr(ops, "matmul", lambda *args: seen.append(1) or matmul(*args))
    student = user_network()
    method = trained(student)
    assert seen
    before = len(seen)
    method.student(np.ones((1, 8, 8, 3), "float32"))
    assert len(seen) == before, "outside of a step, layers run Keras's code"


def user_network():
    images = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 1, strides=2)(images)
    x = keras.layers.BatchNormalization()(x)
    return keras.Model(
        images, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x))
    )


def trained(student):
    from kmtard.attacks import PGD
    from kmtard.methods.sat import SAT

    method = SAT(student, attack=PGD(steps=1))
    method.compile("sgd", jit_compile=BACKEND == "jax")
    x = np.random.default_rng(0).random((6, 8, 8, 3), "float32")
    method.fit(x, np.arange(6) % 3, batch_size=6, verbose=0)
    return method


@pytest.mark.quick("torch")
def test_saved_models_load_without_our_package(tmp_path):
    path = tmp_path / "student.keras"
    student = trained(user_network()).student
    student.save(path)
    x = np.random.default_rng(1).random((2, 8, 8, 3), "float32")
    np.save(tmp_path / "x.npy", x)
    expected = backend.to_numpy(student(x))
    code = (
        "import sys, keras, numpy as np; m = keras.models.load_model(sys.argv[1]);"
        "assert type(m.layers[1]) is keras.layers.Conv2D;"
        "assert 'kmtard' not in sys.modules;"
        "np.save(sys.argv[3], keras.ops.convert_to_numpy(m(np.load(sys.argv[2]))))"
    )
    files = [str(path), str(tmp_path / "x.npy"), str(tmp_path / "y.npy")]
    subprocess.run([sys.executable, "-c", code, *files], check=True, env=os.environ)
    np.testing.assert_allclose(np.load(files[2]), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("library", ["jax", "torch"])
def test_arrays_of_other_libraries_replace_no_layer(library):
    """Only the active backend's versions fit its tensors."""
    module = pytest.importorskip(library)
    make = module.numpy.ones if library == "jax" else module.ones
    array = make((1, 4, 4, 1))
    x = backend.to_numpy(array)
    backend.from_numpy(x, like=array)
    layer = keras.layers.Conv2D(4, 1)
    layer.build(x.shape)
    assert_close(both(lambda: [layer(ops.convert_to_tensor(x))]), 1e-6)


@on_jax
def test_other_threads_run_keras_code():
    layer = keras.layers.Conv2D(4, 1)
    layer.build((2, 4, 4, 3))
    found = []

    def work():
        found.append(program(layer))

    with fast_layers():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert "conv_general_dilated" in found[0]
