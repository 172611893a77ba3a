"""Networks with known flaws, and what the diagnostics say of them."""

import keras
from keras import layers, ops

SHAPE = (4, 4, 1)
CLASSES = 4


@keras.saving.register_keras_serializable(package="kmtard_tests")
class Apply(layers.Layer):
    """Any function as a layer, applied whether training or not."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.seeds = keras.random.SeedGenerator(3)

    def call(self, x):
        return self.function(self, x)


def net(*extra, first=(), classes=CLASSES):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([layers.Input(SHAPE)])
    for layer in (
        *first,
        layers.Conv2D(6, 3, activation="relu"),
        layers.Flatten(),
        layers.Dense(classes),
        *extra,
    ):
        model.add(layer)
    return model


def labels(model, x):
    return ops.convert_to_numpy(model(x, training=False)).argmax(-1)


def names(findings):
    assert all(finding.message for finding in findings)
    return {finding.name for finding in findings}


def rounded(layer, x):
    return ops.round(x)
