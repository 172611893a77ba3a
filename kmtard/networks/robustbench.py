"""Networks of RobustBench's leaderboards by their names, with their standardization.

Weights are loaded from the files that RobustBench publishes, of which it keeps a copy
in `models/DATA/THREAT/NAME.pt`.
"""

from __future__ import annotations

import os
from importlib import import_module

import keras

from kmtard.networks import convert, weight_files
from kmtard.networks.blocks import Shape
from kmtard.registry.ranges import Mean, Std, checked
from kmtard.registry.robustbench import CLASSES, IMAGE_SHAPE, Entry, find

AXES = (1, 2, 3)


@checked
def robustbench(
    num_classes: int,
    input_shape: Shape,
    name: str,
    *,
    mean: Mean = None,
    std: Std = None,
) -> keras.Model:
    """Return the network of a model in RobustBench, without its weights.

    Args:
        num_classes: Number of logits, 10 for CIFAR-10 and 100 for CIFAR-100.
        input_shape: `(height, width, channels)` of an image.
        name: Name in RobustBench, such as "Gowal2020Uncovering_70_16".
        mean: One value per channel, subtracted from the images; or a name that sets
            `mean` and `std`; or () for no standardization; or None for RobustBench's.
        std: One positive value per channel, which divides the difference; or as `mean`.

    Returns:
        A Keras model from images in [0, 1] to logits.

    Raises:
        RegistryError: RobustBench has no such model, or it is refused.
        ValueError: An argument is out of its range.

    Example:
        >>> robustbench(10, (32, 32, 3), "Sehwag2021Proxy_R18").count_params()
        11183562
    """
    data = next((each for each, n in CLASSES.items() if n == num_classes), None)
    entry = find(name, data)
    module, _, function = entry.network.partition(":")
    build = getattr(import_module(f"kmtard.networks.{module}"), function)
    if mean is None and std is None:
        mean, std = entry.mean, entry.std
    network: keras.Model = build(
        num_classes, input_shape, mean=mean, std=std, **entry.options
    )
    return _after_standardization(network) if entry.each_image else network


def load(entry: Entry, path: str | os.PathLike[str]) -> keras.Model:
    """Return the network of an entry with its published weights.

    If the file contains the standardization of the images, the network has it, as in
    RobustBench.

    Args:
        entry: the entry, which must not be refused.
        path: the file that RobustBench publishes, or another file of its state dict.

    Raises:
        ImportError: the file needs PyTorch, which is not installed.
        OSError: the file cannot be opened.
        ValueError: the file cannot be read, or its weights do not fit.
    """
    tensors = _read(entry, path)
    stated = convert.stated_constants(tensors)
    constants = {} if stated is None else stated._asdict()
    network = robustbench(CLASSES[entry.data], IMAGE_SHAPE, entry.key, **constants)
    try:
        convert.from_torch(network, tensors)
    except ValueError as error:
        raise ValueError(f"{path} for {entry.name}: {error}") from error
    return network


def _read(entry: Entry, path: str | os.PathLike[str]) -> weight_files.StateDict:
    if entry.nest is not None:
        try:
            return weight_files.read(path, nest=entry.nest)
        except ValueError:
            # The file may hold the state dict alone, as RobustBench's model returns it.
            pass
    return weight_files.read(path)


def _after_standardization(network: keras.Model) -> keras.Model:
    """Return a network for images, each standardized by its own mean and deviation.

    As in Ding et al. 2020 ("MMA training"): the deviation is that of a sample, and at
    least 1 / sqrt(n) for n values.
    """
    images = keras.Input(network.input_shape[1:])
    count = images.shape[1] * images.shape[2] * images.shape[3]
    centered = images - keras.ops.mean(images, AXES, keepdims=True)
    squares = keras.ops.sum(centered * centered, AXES, keepdims=True)
    deviation = keras.ops.sqrt(squares / (count - 1))
    scaled = centered / keras.ops.maximum(deviation, count**-0.5)
    return keras.Model(images, network(scaled), name=network.name)
