"""Read the networks' weights from PyTorch files, and write them to such files.

The keys are those of the public codes: TRADES and RobustBench, DeepMind, B-MTARD,
pytorch-cifar, and chenyaofo/pytorch-cifar-models.

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
from kmtard.networks.blocks import SQUEEZE_NAMES, CosineLogits
from kmtard.networks.standardization import (
    Standardization,
    body_of,
    constants_in,
    is_constant,
)
from kmtard.networks.wide_resnet_variants import PSSiLU

# A Keras variable and the order of its axes in PyTorch.
Weight = tuple[Any, tuple[int, ...]]

# Prefixes of keys, from DataParallel, wrappers, weight averaging and torch.compile.
PREFIXES = re.compile(r"^((module|model|net|student|basic_net|_orig_mod|1)\.)+")
# The WRN of TRADES registers this block but never calls it.
SUB_BLOCK = "sub_block1."
# Andriushchenko's code registers a first layer that it does not call, and Dai's one
# activation that all blocks share, once for each of them.
UNUSED = re.compile(
    r"sub_block1\..*|.*\.num_batches_tracked|n_averaged|model_preact_hl1\..*"
    r"|block\d\.layer\.\d+\.activation\.(alpha|beta)"
)
# For each layer class: PyTorch's name of a weight -> the attribute in Keras, and the
# order of its axes in PyTorch.
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
    CosineLogits: {"weight": ("kernel", (1, 0))},
    PSSiLU: {"alpha": ("alpha", (0,)), "beta": ("beta", (0,))},
}
BIAS = {"bias": ("bias", (0,))}
SHOWN = 20
HDF5 = (".h5", ".hdf5")
# Keys of the last layer, the most common one first.
HEADS = ("linear.weight", "fc.weight", "logits.weight")


@dataclass(frozen=True)
class Read:
    """What was read from a weight file.

    Attributes:
        tensors: number of tensors that were copied into the network.
        nest: the keys that lead to the weights in a checkpoint, joined by dots.
        prefix: the most common prefix of the keys.
        constants: the standardization of the images in the file; None if it has none.
        skipped: keys of tensors that the network does not use.
    """

    tensors: int
    nest: str = ""
    prefix: str = ""
    constants: Standardization | None = None
    skipped: tuple[str, ...] = ()


def load(
    network: keras.Model, path: str | os.PathLike[str], *, nest: str | None = None
) -> Read:
    """Load the weights of a file into a network, without running code from the file.

    A PyTorch file may be a state dict, or a checkpoint that contains one. Its keys may
    have prefixes from wrappers (`module.`, `model.`, `basic_net.`, `1.`). If the file
    contains the standardization of the images (`mu` and `sigma`, `mean` and `std`,
    `normalize.*`), the network must have the same.

    Args:
        network: a network of `kmtard.networks` with the file's number of classes; for
            Keras's `.h5` files any built Keras model.
        path: a PyTorch file (`.pt`, `.pth`, `.pth.tar`, `.t7`, `.ckpt`, `.bin`, `.th`
            or no ending), `.safetensors`, `.weights.h5`, or weights in `.h5`.
        nest: the key of the weights to read, if a checkpoint has several sets.

    Returns:
        What was read.

    Raises:
        ImportError: the file needs PyTorch, which is not installed.
        OSError: the file cannot be opened.
        ValueError: the file cannot be read or does not fit the network, which then
            stays unchanged.
    """
    if Path(path).suffix in HDF5:
        weight_files.check_h5(path)
        before = network.get_weights()
        try:
            network.load_weights(path)
        # Keras raises various errors for older files, which it reads layer by layer.
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

    With the default arguments, `load_state_dict(strict=True)` of these classes accepts
    the file: TRADES (also in MART, MTARD and RobustBench's TRADES entry), DeepMind,
    MTARD, B-MTARD, pytorch-cifar and chenyaofo. Other classes differ in two points:

    - TRADES registers a block `sub_block1` that it never calls. The wide ResNet of IAD
      and most of RobustBench's have no such block: use `sub_block1=False`.
    - RobustBench stores the standardization of the images in buffers: use
      `constants=True`. DeepMind and MTARD pass it as arguments. By default, the file
      contains it only as metadata, which `load` reads and PyTorch ignores: whoever
      loads the file into PyTorch must give the class the same constants.

    A network inside of `keras.Sequential([Rescaling(...), network])`, or after
    `Normalization`, is written with RobustBench's keys `normalize.mean`,
    `normalize.std` and `model.*`. A class without standardization refuses these keys.

    Args:
        network: a network of `kmtard.networks`.
        path: a `.pt`, `.pth` or `.safetensors` file, in an existing folder.
        sub_block1: whether to write the unused block of TRADES's networks.
        constants: whether to write the standardization of the images as tensors.

    Raises:
        ImportError: the file needs PyTorch, which is not installed.
        RunError: the file cannot be written.
        ValueError: the name has another ending, or the network has layers that the
            public PyTorch codes do not have.
    """
    tensors = to_torch(network, sub_block1=sub_block1, constants=constants)
    weight_files.write(path, tensors, constants=body_of(network).standardization)


@dataclass(frozen=True)
class Conversion:
    """What `convert_file` has read and written.

    Attributes:
        network: the model that was written.
        read: what was read from the weight file; None for a `.keras` model.
        own: the standardization of the images in the network.
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
    """Convert a file of weights or a model to a file of another kind.

    If the file contains the standardization of the images, the network is built with
    it. If `options` has `mean` or `std`, these are used, and must agree with the file.

    Args:
        source: a file that `load` reads, or a `.keras` file.
        target: a file that ends in `.keras`, `.weights.h5`, `.pt`, `.pth` or
            `.safetensors`.
        build: builds the network of the weights,
            `build(num_classes, input_shape, **options)`; not needed for `.keras` files.
        num_classes: number of classes; None reads it from a PyTorch file.
        input_shape: `(height, width, channels)` of the images.
        options: options of the network.
        nest: as in `load`.
        sub_block1: as in `save`.
        constants: as in `save`.

    Returns:
        The network, and what was read.

    Raises:
        ImportError: a file needs PyTorch, which is not installed.
        OSError: a file cannot be opened or written.
        RunError: the PyTorch file cannot be written.
        ValueError: a file is of another kind, damaged, or does not fit.

    Example:
        >>> kmtard.networks.resnet18(10, (8, 8, 3)).save_weights("student.weights.h5")
        >>> conversion = kmtard.networks.convert.convert_file(
        ...     "student.weights.h5",
        ...     "student.safetensors",
        ...     build=kmtard.networks.resnet18,
        ...     num_classes=10,
        ...     input_shape=(8, 8, 3),
        ... )
    """
    suffix = Path(target).suffix
    keras_weights = str(target).endswith(".weights.h5")
    if not (suffix == ".keras" or keras_weights or suffix in weight_files.SUFFIXES):
        raise ValueError(
            "The target must end in .keras, .weights.h5, "
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
    """Build the network of a weight file and load the weights into it."""
    if Path(source).suffix in HDF5:
        weight_files.check_h5(source)
    if build is None:
        raise ValueError(
            f"{source} holds only weights. Name the network that they belong to."
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
            f"The number of classes cannot be read from {source}. Give it: "
            "num_classes in code, --classes on the command line."
        )
    network = build(num_classes, input_shape, **options)
    if tensors is None:
        return network, load(network, source)
    try:
        return network, from_torch(network, tensors)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error


def from_torch(network: keras.Model, tensors: Mapping[str, np.ndarray]) -> Read:
    """Load a PyTorch state dict into a network.

    Args:
        network: a network of `kmtard.networks`.
        tensors: the arrays by key, in PyTorch's layout.

    Returns:
        What was read.

    Raises:
        ValueError: keys are missing or not used, a shape or dtype is wrong, or the
            standardization of the images differs. The message lists all mistakes, and
            the network stays unchanged.
    """
    variables = dict(torch_variables(network))
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
            "the weights expect another standardization of the images, and all logits "
            f"would be wrong. The file has {stated}. The network has {own}. Build the "
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
    """Return the standardization in a state dict, or None if it contains none.

    Raises:
        ValueError: the constants are not one value per channel.
    """
    stripped = {PREFIXES.sub("", key): array for key, array in tensors.items()}
    return constants_in(stripped) or getattr(tensors, "constants", None)


def classes_in(tensors: Mapping[str, np.ndarray]) -> int | None:
    """Return the number of classes of a state dict; None without a known last layer."""
    for key, array in tensors.items():
        if PREFIXES.sub("", key) in HEADS and array.ndim == 2:
            return len(array)
    return None


def to_torch(
    network: keras.Model, *, sub_block1: bool = False, constants: bool = False
) -> dict[str, np.ndarray]:
    """Return a network's weights as the state dict of its public PyTorch code.

    Args:
        network: a network of `kmtard.networks`.
        sub_block1: as in `save`.
        constants: as in `save`.

    Returns:
        float32 arrays by key, in PyTorch's layout, and for each BatchNorm an int64 0 as
        `num_batches_tracked`, which PyTorch requires but does not use here.

    Raises:
        ValueError: the network has layers that the public PyTorch codes do not have.
    """
    tensors: dict[str, np.ndarray] = {}
    for key, (variable, axes) in torch_variables(network):
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


def torch_variables(network: keras.Model) -> Iterator[tuple[str, Weight]]:
    """Yield each variable of a network under its key in a PyTorch state dict.

    Args:
        network: a network of `kmtard.networks`.

    Yields:
        The key; and the variable, with the order of its axes in PyTorch.

    Raises:
        ValueError: the network has layers that the public PyTorch codes do not have.
    """
    for layer in body_of(network).layers:
        known = WEIGHTS.get(type(layer), {})
        if layer.name.endswith(SQUEEZE_NAMES):
            known = known | BIAS
        # PyTorch flattens features in another order, so that the kernel of the dense
        # layer after it differs.
        flattens = isinstance(layer, keras.layers.Flatten)
        # `body_of` has removed the standardization: any other Rescaling has no key.
        scales = isinstance(layer, keras.layers.Rescaling)
        if flattens or scales or len(layer.weights) != len(known):
            raise ValueError(
                "Only the published networks of kmtard.networks have a form in "
                "PyTorch: convolutions without bias, BatchNorms, a global pooling and "
                "a dense layer, optionally after one Rescaling or Normalization of the "
                f"images. Received: a network with the layer {layer.name!r} of type "
                f"{type(layer).__name__}."
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
    lines.append("Build the network of these weights, with its number of classes.")
    return "\n".join(lines)
