"""Weights of the networks from PyTorch files, and back.

The keys are those of the public codes: TRADES and RobustBench, DeepMind, B-MTARD,
pytorch-cifar, chenyaofo/pytorch-cifar-models.

Example:
    >>> import kmtard
    >>> network = kmtard.networks.resnet18(10, (32, 32, 3))
    >>> kmtard.networks.convert.save(network, "student.safetensors")
    >>> read = kmtard.networks.convert.load(network, "student.safetensors")
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kmtard.networks import weight_files
from kmtard.networks.standardization import (
    Standardization,
    body_of,
    constants_in,
    is_constant,
)

# A Keras variable, and the order of its axes in PyTorch.
Weight = tuple[Any, tuple[int, ...]]

# What DataParallel, wrappers, averages and torch.compile put before each key.
PREFIXES = re.compile(r"^((module|model|net|student|basic_net|_orig_mod|1)\.)+")
# Registered by TRADES's WRN and never called.
SUB_BLOCK = "sub_block1."
UNUSED = re.compile(r"sub_block1\..*|.*\.num_batches_tracked|n_averaged")
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
HDF5 = (".h5", ".hdf5")
# Of the keys of the last layer, in the order of how many networks have them.
HEADS = ("linear.weight", "fc.weight", "logits.weight")


@dataclass(frozen=True)
class Read:
    """What was read from a file of weights.

    Attributes:
        tensors: how many gave the network their values.
        nest: the keys of the checkpoint under which they lay, joined by dots.
        prefix: what stood before each key, of most of them.
        constants: the standardization of the images that the file states; None where
            it states none.
        skipped: keys of tensors that the network has no use for.
    """

    tensors: int
    nest: str = ""
    prefix: str = ""
    constants: Standardization | None = None
    skipped: tuple[str, ...] = ()


def load(
    network: keras.Model, path: str | os.PathLike[str], *, nest: str | None = None
) -> Read:
    """Give a network the weights of a file, read without running its code.

    A PyTorch file may hold the state dict bare or nested in a checkpoint, beside
    other things, and its keys may begin with what wrappers put there (`module.`,
    `model.`, `basic_net.`, `1.`). Where the file states how images are standardized
    (`mu` and `sigma`, `mean` and `std`, `normalize.*`), the network must do the same.

    Args:
        network: one of `kmtard.networks`, of the file's number of classes; for Keras's
            `.h5` files any built Keras model.
        path: a PyTorch file (`.pt`, `.pth`, `.pth.tar`, `.t7`, `.ckpt`, `.bin`, `.th`
            or without ending), `.safetensors`, `.weights.h5`, or weights in `.h5`.
        nest: the key of a checkpoint to read, where there are several.

    Returns:
        What was read.

    Raises:
        ImportError: a PyTorch file, and PyTorch is not installed.
        OSError: the file cannot be opened.
        ValueError: the file cannot be read or does not fit; the network is unchanged.
    """
    if Path(path).suffix in HDF5:
        weight_files.check_h5(path)
        before = network.get_weights()
        try:
            network.load_weights(path)
        # An older file is read layer by layer, and its mistakes are of many kinds.
        except (KeyError, TypeError, ValueError) as error:
            network.set_weights(before)
            reason = (str(error) or repr(error)).splitlines()[0]
            raise ValueError(f"{path} does not fit the network: {reason}") from error
        return Read(len(network.weights))
    tensors = weight_files.read(path, nest=nest)
    try:
        return from_torch(network, tensors)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def save(
    network: keras.Model,
    path: str | os.PathLike[str],
    *,
    sub_block1: bool = True,
    constants: bool = False,
) -> None:
    """Write a network's weights to a file that its public PyTorch code can load.

    `load_state_dict` of the authors' classes takes them with `strict=True`, as written
    by default: those of TRADES (and of MART, MTARD and RobustBench's TRADES entry),
    DeepMind, MTARD, B-MTARD, pytorch-cifar and chenyaofo. Their forms differ in two
    points:

    - TRADES registers a block `sub_block1` that it never calls. IAD's wide ResNet and
      most of RobustBench's lack it: `sub_block1=False`.
    - RobustBench keeps the constants of the images as buffers, DeepMind and MTARD as
      arguments: `constants=True`. Without it, the file notes them where no class looks
      and `load` does, and whoever loads it into PyTorch must give the class the same.

    A network inside of `keras.Sequential([Rescaling(...), network])`, or after
    `Normalization`, gets RobustBench's keys `normalize.mean`, `normalize.std` and
    `model.*`, which no bare class takes by mistake.

    Args:
        network: one of `kmtard.networks`.
        path: a `.pt`, `.pth` or `.safetensors` file, in a folder that exists.
        sub_block1: whether the unused block is written, for TRADES's networks.
        constants: whether the constants of the images are written as tensors.

    Raises:
        ImportError: a `.pt` or `.pth` file, and PyTorch is not installed.
        RunError: the file cannot be written.
        ValueError: the name has another ending, or PyTorch has no such network.
    """
    tensors = to_torch(network, sub_block1=sub_block1, constants=constants)
    weight_files.write(path, tensors, constants=body_of(network).standardization)


@dataclass(frozen=True)
class Conversion:
    """What `convert_file` has done.

    Attributes:
        network: the model that was written.
        read: what was read from the file of weights; None of a whole `.keras` model.
        own: the standardization of the images inside of the network.
    """

    network: keras.Model
    read: Read | None
    own: Standardization


def convert_file(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    build: Callable[..., keras.Model] | None = None,
    num_classes: int | None = None,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    options: Mapping[str, Any] | None = None,
    nest: str | None = None,
    sub_block1: bool = True,
    constants: bool = False,
) -> Conversion:
    """Write the weights or the model of a file to a file of another kind.

    Constants of the images that the file states go into the network, unless `options`
    name others, which are then compared.

    Args:
        source: a file that `load` reads, or a `.keras` file.
        target: `.keras`, `.weights.h5`, `.pt`, `.pth` or `.safetensors`.
        build: the network of the weights, `build(num_classes, input_shape, **options)`.
        num_classes: of the network; read from a PyTorch file if None.
        input_shape: `(height, width, channels)` of the images.
        options: of the network.
        nest: as in `load`.
        sub_block1: as in `save`.
        constants: as in `save`.

    Returns:
        What was done.

    Raises:
        ImportError: a PyTorch file, and PyTorch is not installed.
        OSError: a file cannot be opened or written.
        RunError: the PyTorch file cannot be written.
        ValueError: a file is of another kind, damaged, or does not fit.
    """
    suffix = Path(target).suffix
    keras_weights = str(target).endswith(".weights.h5")
    if not (suffix == ".keras" or keras_weights or suffix in weight_files.SUFFIXES):
        raise ValueError(
            "The new file must end in .keras, .weights.h5, "
            f"{', '.join(weight_files.SUFFIXES)}. Received: {str(target)!r}."
        )
    read = None
    if Path(source).suffix == ".keras":
        network = keras.models.load_model(source, compile=False)
    else:
        network, read = _built(
            source, build, num_classes, input_shape, dict(options or {}), nest
        )
    own = body_of(network).standardization
    if suffix == ".keras":
        network.save(target)
    elif keras_weights:
        network.save_weights(target)
    else:
        save(network, target, sub_block1=sub_block1, constants=constants)
    return Conversion(network, read, own)


def _built(
    source: str | os.PathLike[str],
    build: Callable[..., keras.Model] | None,
    num_classes: int | None,
    input_shape: tuple[int, int, int],
    options: dict[str, Any],
    nest: str | None,
) -> tuple[keras.Model, Read]:
    """Build the network of a file of weights, and give it these."""
    if Path(source).suffix in HDF5:
        weight_files.check_h5(source)
    if build is None:
        raise ValueError(
            f"{source} holds weights alone. Name the network that they belong to."
        )
    tensors = None
    if Path(source).suffix not in HDF5:
        tensors = weight_files.read(source, nest=nest)
        num_classes = num_classes or classes_in(tensors)
        stated = stated_constants(tensors)
        if stated and stated.mean and not {"mean", "std"} & options.keys():
            options |= stated._asdict()
    if num_classes is None:
        raise ValueError(
            f"{source} does not show how many classes the network has. Give "
            "num_classes, on the command line --classes."
        )
    network = build(num_classes, input_shape, **options)
    if tensors is None:
        return network, load(network, source)
    try:
        return network, from_torch(network, tensors)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error


def from_torch(network: keras.Model, tensors: Mapping[str, np.ndarray]) -> Read:
    """Give a network the weights of a PyTorch state dict.

    Args:
        network: one of `kmtard.networks`.
        tensors: arrays by key, in PyTorch's layout.

    Returns:
        What was read.

    Raises:
        ValueError: keys are missing or not used, a shape or type is wrong, or images
            are standardized differently: all is named, and the network is unchanged.
    """
    variables = dict(_variables(network))
    names = {key: PREFIXES.sub("", key) for key in tensors}
    stated = stated_constants(tensors)
    used = {
        key: name
        for key, name in names.items()
        if not (UNUSED.fullmatch(name) or is_constant(name))
    }
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
    own = body_of(network).standardization
    if stated is not None and not stated.agrees(own):
        raise ValueError(
            "the weights were made for images standardized in another way; all logits "
            f"would be wrong. The file: {stated}. The network: {own}. Build the "
            f"network with {'mean=(), std=()' if not stated.mean else stated}; in a "
            "recipe, these are options of the network."
        )
    for name, (variable, axes) in variables.items():
        variable.assign(arrays[name].transpose(np.argsort(axes)))
    prefixes = Counter(key.removesuffix(name) for key, name in used.items())
    return Read(
        tensors=len(variables),
        nest=getattr(tensors, "nest", ""),
        prefix=prefixes.most_common(1)[0][0],
        constants=stated,
        skipped=tuple(
            key
            for key, name in names.items()
            if key not in used
            and not (is_constant(name) or name.endswith("num_batches_tracked"))
        ),
    )


def stated_constants(tensors: Mapping[str, np.ndarray]) -> Standardization | None:
    """Return the standardization that a state dict states, None where it does not.

    Raises:
        ValueError: its constants are no values for each channel.
    """
    stripped = {PREFIXES.sub("", key): array for key, array in tensors.items()}
    return constants_in(stripped) or getattr(tensors, "constants", None)


def classes_in(tensors: Mapping[str, np.ndarray]) -> int | None:
    """Return the number of classes of a state dict, None without a known last layer."""
    for key, array in tensors.items():
        if PREFIXES.sub("", key) in HEADS and array.ndim == 2:
            return len(array)
    return None


def to_torch(
    network: keras.Model, *, sub_block1: bool = False, constants: bool = False
) -> dict[str, np.ndarray]:
    """Return a network's weights as the state dict of its public PyTorch code.

    Args:
        network: one of `kmtard.networks`.
        sub_block1: as in `save`.
        constants: as in `save`.

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
    if sub_block1:
        tensors |= {
            SUB_BLOCK + key.removeprefix("block1."): array.copy()
            for key, array in tensors.items()
            if key.startswith("block1.layer.")
        }
    body = body_of(network)
    if not (body.wrapped or constants):
        return tensors
    names = ("mu", "sigma")
    shape: tuple[int, ...] = (1, -1, 1, 1)
    if body.wrapped:
        tensors = {f"model.{key}": array for key, array in tensors.items()}
        names = ("normalize.mean", "normalize.std")
    elif "init_conv.weight" in tensors:
        names, shape = ("mean", "std"), (-1, 1, 1)
    channels = network.input_shape[-1]
    values = body.standardization
    if not values.mean:
        values = Standardization((0.0,) * channels, (1.0,) * channels)
    stated = {
        name: np.array(each, np.float32).reshape(shape)
        for name, each in zip(names, values, strict=True)
    }
    return stated | tensors


def _variables(network: keras.Model) -> Iterator[tuple[str, Weight]]:
    for layer in body_of(network).layers:
        known = WEIGHTS.get(type(layer), {})
        # Flattened maps have another order in PyTorch: their dense layer differs.
        flattens = isinstance(layer, keras.layers.Flatten)
        # Elsewhere than before the first layer, it is no standardization of images.
        scales = isinstance(layer, keras.layers.Rescaling)
        if flattens or scales or len(layer.weights) != len(known):
            raise ValueError(
                "Only the published networks of kmtard.networks, made of "
                "convolutions without bias, normalisations, a global pooling and a "
                "dense layer, exist in PyTorch, bare or behind one Rescaling or "
                "Normalization of the images. Received: a network with "
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
