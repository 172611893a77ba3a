"""Train a robust network and save it for both sides: `python -m ...network SETTINGS`.

The settings are `shape`, `epsilon` and `epochs` of the network in `attacks.NETS`, the
number of `images`, and the `folder` for the files: the model (`network.keras`), the
images and labels (`images.npz`), and the weights under PyTorch's names (`torch.npz`).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from kmtard.benchmarks.timing import keras_on
from kmtard.data.digits import digits

BATCH_SIZE = 64


def main(settings: dict[str, Any]) -> int:
    """Train and save; return the exit code."""
    keras = keras_on(None)
    from kmtard.attacks import PGD
    from kmtard.methods.sat import SAT
    from kmtard.networks.small_cnn import small_cnn

    keras.utils.set_random_seed(0)
    shape, epsilon = tuple(settings["shape"]), settings["epsilon"]
    data = digits()
    student = small_cnn(data.num_classes, shape)
    method = SAT(student, attack=PGD(epsilon, steps=10, step_size=epsilon / 4))
    method.compile(keras.optimizers.SGD(0.02, momentum=0.9))
    method.fit(
        resized(data.train.images[:], shape),
        data.train.labels,
        batch_size=BATCH_SIZE,
        epochs=settings["epochs"],
        verbose=0,
    )
    folder, count = Path(settings["folder"]), settings["images"]
    student.save(folder / "network.keras")
    images = resized(data.test.images[:], shape)[:count]
    np.savez(folder / "images.npz", x=images, y=data.test.labels[:count])
    arrays: dict[str, Any] = for_torch(student)
    np.savez(folder / "torch.npz", **arrays)
    sys.stdout.write(json.dumps({"saved": str(folder)}) + "\n")
    return 0


def resized(images: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Return gray 8x8 images as float32 images of a multiple of this size.

    With three channels, each image gets a color, always the same.

    Args:
        images: uint8 (N, 8, 8, 1).
        shape: `(height, width, channels)`.
    """
    height, width, channels = shape
    large = np.kron(images, np.ones((1, height // 8, width // 8, 1), "uint8"))
    color = np.random.default_rng(0).uniform(0.4, 1, (len(images), 1, 1, channels))
    return (large / 255 * (color if channels > 1 else 1)).astype("float32")


def for_torch(network: Any) -> dict[str, np.ndarray]:
    """Return the weights of a `small_cnn` under the names of the PyTorch one.

    The PyTorch network is `kmtard.benchmarks.rivals.networks.SmallCNN`.
    """
    state: dict[str, np.ndarray] = {}
    layers = [layer for layer in network.layers if layer.weights]
    *parts, last = layers
    for number, layer in enumerate(parts):
        place = number // 2 * 3 + number % 2
        values = {
            variable.name: np.asarray(value)
            for variable, value in zip(layer.weights, layer.get_weights(), strict=True)
        }
        if number % 2 == 0:
            state[f"{place}.weight"] = values["kernel"].transpose(3, 2, 0, 1)
            continue
        state[f"{place}.weight"] = values["gamma"]
        state[f"{place}.bias"] = values["beta"]
        state[f"{place}.running_mean"] = values["moving_mean"]
        state[f"{place}.running_var"] = values["moving_variance"]
        shape = layer.output.shape[1:]
    kernel, bias = last.get_weights()
    # Keras flattens (height, width, channels), PyTorch (channels, height, width).
    kernel = kernel.reshape(*shape, -1).transpose(3, 2, 0, 1)
    place = len(parts) // 2 * 3 + 1
    state[f"{place}.weight"] = kernel.reshape(len(kernel), -1)
    state[f"{place}.bias"] = bias
    return state


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
