"""The nearest of the hyperplanes of all classes, against one class at a time."""

import functools

import keras
import numpy as np
import pytest
from keras import layers, ops

from kmtard import backend
from kmtard.attacks import hyperplane
from kmtard.attacks.classifier import Classifier

CLASSES = 4


@pytest.fixture
def classifier():
    keras.utils.set_random_seed(0)
    return Classifier(
        keras.Sequential(
            [
                layers.Input((5, 5, 2)),
                layers.Conv2D(6, 3, activation="relu"),
                layers.Flatten(),
                layers.Dense(CLASSES),
            ]
        )
    )


@pytest.mark.parametrize("unrolled", [CLASSES, 0])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_nearest_of_all_classes(classifier, norm, unrolled, monkeypatch):
    monkeypatch.setattr(hyperplane, "UNROLLED", unrolled)
    u = ops.convert_to_tensor(np.random.default_rng(0).random((7, 5, 5, 2), "float32"))
    y = ops.convert_to_tensor(np.arange(7) % CLASSES, "int32")
    nearest = functools.partial(hyperplane.nearest, classifier, norm=norm)
    lead, normal = classifier.compiled(f"nearest {norm}", nearest)(u, y)
    towards = functools.partial(hyperplane.towards, classifier)
    found = [
        [
            ops.convert_to_numpy(each)
            for each in classifier.compiled("towards", towards)(
                u, y, ops.full((7,), label, "int32")
            )
        ]
        for label in range(CLASSES)
    ]
    leads = np.stack([each for each, _ in found])
    normals = np.stack([each for _, each in found])
    order = 1 if norm == "linf" else 2
    lengths = np.linalg.norm(normals.reshape(CLASSES, 7, -1), order, axis=2)
    distances = np.abs(leads) / (lengths + 1e-12)
    distances[np.arange(7) % CLASSES, np.arange(7)] = np.inf
    best = distances.argmin(axis=0), np.arange(7)
    assert len(set(best[0])) > 1
    np.testing.assert_allclose(ops.convert_to_numpy(lead), leads[best], rtol=1e-5)
    np.testing.assert_allclose(
        ops.convert_to_numpy(normal), normals[best], rtol=1e-4, atol=1e-6
    )


def test_products_whose_gradient_is_zero():
    """The values do not depend on the images."""
    x = ops.ones((2, 3))
    values, pull = backend.pullback(lambda _: ops.full((2, 4), 5.0), x)
    np.testing.assert_array_equal(ops.convert_to_numpy(values), np.full((2, 4), 5))
    for _ in range(2):
        np.testing.assert_array_equal(
            ops.convert_to_numpy(pull(ops.ones((2, 4)))), np.zeros((2, 3))
        )
