"""Weights of the networks from PyTorch files, and back.

The keys are those of the public codes: TRADES and RobustBench, DeepMind, B-MTARD,
pytorch-cifar, chenyaofo/pytorch-cifar-models.

Example:
    >>> import kmtard
    >>> network = kmtard.networks.resnet18(10, (32, 32, 3))
    >>> kmtard.networks.convert.save(network, "student.safetensors")
    >>> kmtard.networks.convert.load(network, "student.safetensors")
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from kmtard.networks import weight_files

# A Keras variable, and the order of its axes in PyTorch.
Weight = tuple[Any, tuple[int, ...]]

# What DataParallel, wrappers and torch.compile put before each key.
PREFIXES = re.compile(r"^((module|model|_orig_mod)\.)+")
# TRADES's WRN registers sub_block1 and never calls it.
UNUSED = re.compile(r"sub_block1\..*|.*\.num_batches_tracked")
# Of each kind of layer, PyTorch's names for its weights: the attribute in Keras, and
# the order of its axes in PyTorch.
WEIGHTS: dict[type, dict[str, tuple[str, tuple[int, ...]]]] = {
    keras.layers.Conv2D: {"weight": ("kernel", (3, 2, 0, 1))},
    keras.layers.DepthwiseConv2D: {"weight": ("kernel", (2, 3, 0, 1))},
    keras.layers.Dense: {"weight": ("kernel", (1, 0)), "bias": ("bias", (0,))},
    keras.layers.BatchNormalization: {
        "weight": ("gamma", (0,)),
        "bias": ("beta", (0,)),
        "running_mean": ("moving_mean", (0,)),
        "running_var": ("moving_variance", (0,)),
    },
}
SHOWN = 20


def load(network: keras.Model, path: str | os.PathLike[str]) -> None:
    """Give a network the weights of a PyTorch file, read without running its code.

    Args:
        network: one of `kmtard.networks`, of the file's number of classes.
        path: a `.pt`, `.pth` or `.safetensors` file; the state dict may be nested in a
            checkpoint and its keys may begin with `module.` or `model.`.

    Raises:
        ImportError: a `.pt` or `.pth` file, and PyTorch is not installed.
        OSError: the file cannot be opened.
        ValueError: the file cannot be read or does not fit; the network is unchanged.
    """
    tensors = weight_files.read(path)
    try:
        from_torch(network, tensors)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def save(network: keras.Model, path: str | os.PathLike[str]) -> None:
    """Write a network's weights to a file that its public PyTorch code can load.

    Args:
        network: one of `kmtard.networks`.
        path: a `.pt`, `.pth` or `.safetensors` file, in a folder that exists.

    Raises:
        ImportError: a `.pt` or `.pth` file, and PyTorch is not installed.
        RunError: the file cannot be written.
        ValueError: the name has another ending, or PyTorch has no such network.
    """
    weight_files.write(path, to_torch(network))


def from_torch(network: keras.Model, tensors: Mapping[str, np.ndarray]) -> None:
    """Give a network the weights of a PyTorch state dict.

    Args:
        network: one of `kmtard.networks`.
        tensors: arrays by key, in PyTorch's layout.

    Raises:
        ValueError: keys are missing or not used, or a shape or type is wrong: all are
            named, and the network is unchanged.
    """
    variables = dict(_variables(network))
    used = {key: PREFIXES.sub("", key) for key in tensors}
    used = {key: name for key, name in used.items() if not UNUSED.fullmatch(name)}
    counts = Counter(used.values())
    arrays = {name: np.asarray(tensors[key]) for key, name in used.items()}
    mistakes = {
        "missing": [name for name in variables if name not in arrays],
        "not used": [key for key, name in used.items() if name not in variables],
        "given twice": [key for key, name in used.items() if counts[name] > 1],
        "wrong": [
            f"{name} must be floats of shape {shape}, is {array.dtype} {array.shape}"
            for name, shape, array in _common(variables, arrays)
            if array.shape != shape or array.dtype.kind != "f"
        ],
    }
    if any(mistakes.values()):
        raise ValueError(_message(mistakes))
    for name, (variable, axes) in variables.items():
        variable.assign(arrays[name].transpose(np.argsort(axes)))


def to_torch(network: keras.Model) -> dict[str, np.ndarray]:
    """Return a network's weights as the state dict of its public PyTorch code.

    Args:
        network: one of `kmtard.networks`.

    Returns:
        float32 arrays by key, in PyTorch's layout, with the `num_batches_tracked` of
        each normalisation (int64, 0), which PyTorch expects and does not use here.

    Raises:
        ValueError: PyTorch has no such network.
    """
    tensors: dict[str, np.ndarray] = {}
    for key, (variable, axes) in _variables(network):
        array = keras.ops.convert_to_numpy(keras.ops.cast(variable, "float32"))
        tensors[key] = np.ascontiguousarray(array.transpose(axes))
        if key.endswith(".running_var"):
            name = key.removesuffix("running_var") + "num_batches_tracked"
            tensors[name] = np.zeros((), np.int64)
    return tensors


def _variables(network: keras.Model) -> Iterator[tuple[str, Weight]]:
    for layer in network.layers:
        known = WEIGHTS.get(type(layer), {})
        # Flattened maps have another order in PyTorch: their dense layer differs.
        flattens = isinstance(layer, keras.layers.Flatten)
        if flattens or len(layer.weights) != len(known):
            raise ValueError(
                "Only the published networks of kmtard.networks, made of "
                "convolutions without bias, normalisations, a global pooling and a "
                "dense layer, exist in PyTorch. Received: a network with "
                f"{layer.name!r} of type {type(layer).__name__}."
            )
        for key, (attribute, axes) in known.items():
            name = f"{layer.name.replace('-', '.')}.{key}"
            yield name, (getattr(layer, attribute), axes)


def _common(
    variables: Mapping[str, Weight], arrays: Mapping[str, np.ndarray]
) -> Iterator[tuple[str, tuple[int, ...], np.ndarray]]:
    for name, (variable, axes) in variables.items():
        if name in arrays:
            yield name, tuple(variable.shape[axis] for axis in axes), arrays[name]


def _message(mistakes: Mapping[str, list[str]]) -> str:
    lines = ["the weights do not fit the network."]
    for kind, found in mistakes.items():
        if found:
            more = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
            lines.append(f"  {kind}: {', '.join(found[:SHOWN] + more)}")
    lines.append("Build the network that they come from, with its number of classes.")
    return "\n".join(lines)
