"""The standardization (x - mean) / std that a network applies to its images.

With other constants than in training, a network silently computes wrong logits.
Therefore the constants are part of the network, weight files may contain them, and
`convert` compares both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import keras
import numpy as np

Given: TypeAlias = str | Sequence[float] | None

# Largest difference between equal constants: published ones are rounded to 3 digits.
TOLERANCE = 6e-4


class Standardization(NamedTuple):
    """One mean and one standard deviation per channel, or no standardization.

    Attributes:
        mean: one value per channel, subtracted from images in [0, 1]; () for none.
        std: one positive value per channel, which divides the difference; () for none.
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def agrees(self, other: Standardization) -> bool:
        """Return whether both are equal up to the rounding of published constants."""
        size = max(len(self.mean), len(other.mean))
        ours, theirs = self._arrays(size), other._arrays(size)
        return ours.shape == theirs.shape and bool(
            np.allclose(ours, theirs, rtol=0, atol=TOLERANCE)
        )

    def _arrays(self, size: int) -> np.ndarray:
        return np.array([self.mean or (0.0,) * size, self.std or (1.0,) * size])

    def __str__(self) -> str:
        """Return the arguments of a network with these constants."""
        values = [", ".join(f"{each:.4g}" for each in part) for part in self]
        return f"mean=({values[0]}), std=({values[1]})" if self.mean else "none"


DATA_SETS = {
    "cifar10": Standardization((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)),
    "cifar100": Standardization((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "tiny_imagenet": Standardization(
        (0.4802, 0.4481, 0.3975), (0.2302, 0.2265, 0.2262)
    ),
}
"""The constants of each data set in the public codes, by name."""

TWICE_MINUS_ONE = "2x-1"
"""Name of the standardization 2 x - 1, to [-1, 1], for any number of channels."""

NAMES = (*DATA_SETS, TWICE_MINUS_ONE)


def standardization(mean: Given, std: Given, channels: int) -> Standardization:
    """Return the constants for the `mean` and `std` arguments of a network.

    Args:
        mean: one value per channel; or a name in `NAMES`, which sets both constants; or
            empty or None for no standardization.
        std: one positive value per channel, or as `mean`.
        channels: number of channels of an image.

    Raises:
        ValueError: the name is unknown, the number of values is not `channels`, or a
            standard deviation is not positive.

    Example:
        >>> kmtard.networks.standardization.standardization("2x-1", None, channels=1)
        Standardization(mean=(0.5,), std=(0.5,))
    """
    names = {each for each in (mean, std) if isinstance(each, str)}
    if names:
        name = names.pop()
        if names or any(each and not isinstance(each, str) for each in (mean, std)):
            raise ValueError(
                "A name sets both `mean` and `std`: give it for one of them or for "
                "both, or give both as one value per channel. Received: "
                f"mean={mean!r}, std={std!r}."
            )
        if name not in NAMES:
            raise ValueError(
                "`mean` and `std` must be one value per channel, or one of the names "
                f"{', '.join(map(repr, NAMES))}. Received: {name!r}."
            )
        half = (0.5,) * channels
        found = DATA_SETS.get(name, Standardization(half, half))
    else:
        found = Standardization(tuple(mean or ()), tuple(std or ()))  # type: ignore[arg-type]
    fits = len(found.mean) == len(found.std) in (0, channels)
    if not fits or any(each <= 0 for each in found.std):
        raise ValueError(
            f"`mean` and `std` must have {channels} values, one per channel, those of "
            "`std` positive, or both be (). "
            f"Received: mean={found.mean}, std={found.std}."
        )
    return found


def standardized(x: keras.KerasTensor, mean: Given, std: Given) -> keras.KerasTensor:
    """Return (x - mean) / std, or x itself if there are no constants.

    Args:
        x: (batch, height, width, channels).
        mean: as in `standardization`.
        std: as in `standardization`.

    Raises:
        ValueError: see `standardization`.
    """
    constants = standardization(mean, std, x.shape[-1])
    if not constants.mean:
        return x
    pairs = zip(*constants, strict=True)
    offset = [-mean / std for mean, std in pairs]
    # If the default is channels first, Keras would apply constants of shape (channels,)
    # to the wrong axis. Constants with three axes are used as they are.
    scale = [1 / std for std in constants.std]
    return keras.layers.Rescaling([[scale]], [[offset]])(x)


class Body(NamedTuple):
    """A network, split into its standardization and the layers after it.

    Attributes:
        standardization: the first operation on the images.
        layers: the other layers, without input layers.
        wrapped: whether the standardization is outside of the network proper, as in
            `keras.Sequential([Rescaling(...), network])`.
    """

    standardization: Standardization
    layers: list[Any]
    wrapped: bool


def body_of(network: keras.Model) -> Body:
    """Split a network into the standardization of its images and the other layers.

    Raises:
        ValueError: the standardization is not one value per channel, or there are two
            of them.
    """
    layers, found, wrapped = list(network.layers), Standardization(), False
    while True:
        while layers and isinstance(layers[0], keras.layers.InputLayer):
            del layers[0]
        kinds = (keras.layers.Rescaling, keras.layers.Normalization)
        if layers and isinstance(layers[0], kinds):
            if found.mean:
                raise ValueError(
                    f"The network {network.name!r} standardizes its images twice, the "
                    f"second time in {layers[0].name!r}. A PyTorch file can hold only "
                    "one standardization: convert the inner network, or remove one of "
                    "the two layers."
                )
            found = _constants_of(layers.pop(0), network.input_shape[-1])
        elif len(layers) == 1 and isinstance(layers[0], keras.Model):
            wrapped = wrapped or bool(found.mean)
            layers = list(layers[0].layers)
        else:
            return Body(found, layers, wrapped)


def _constants_of(layer: Any, channels: int) -> Standardization:
    if isinstance(layer, keras.layers.Rescaling):
        scale, offset = np.array(layer.scale, float), np.array(layer.offset, float)
        with np.errstate(all="ignore"):
            mean, std = -offset / scale, 1 / scale
    else:
        mean = np.array(keras.ops.convert_to_numpy(layer.mean), float)
        variance = np.array(keras.ops.convert_to_numpy(layer.variance), float)
        std = np.maximum(np.sqrt(variance), keras.config.epsilon())
    flat = [array.reshape(-1) for array in np.broadcast_arrays(mean, std)]
    values = np.array(flat) if flat[0].size == channels else None
    if flat[0].size == 1:
        values = np.repeat(flat, channels, axis=1)
    if (
        values is None
        or not (np.isfinite(values).all() and (values[1] > 0).all())
        or getattr(layer, "invert", False)
    ):
        raise ValueError(
            f"The layer {layer.name!r} of type {type(layer).__name__} must compute "
            "(x - mean) / std with one mean and one positive std per channel, because "
            "a PyTorch file can store nothing else. Received: mean of shape "
            f"{mean.shape}, std {np.unique(std)[:4].tolist()}. Convert the network "
            "without this layer, and apply the layer to the images yourself."
        )
    return _plain(values)


def _plain(values: np.ndarray) -> Standardization:
    """Return the rows mean and std as constants; empty ones for mean 0 and std 1."""
    if not values[0].any() and (values[1] == 1).all():
        return Standardization()
    # Rounded to the digits of a float32: 1 / (1 / std) may differ from std in the last.
    rows = ([float(f"{each:.7g}") for each in row] for row in values)
    return Standardization(*map(tuple, rows))


# The names in RobustBench, Rice et al. and Wong et al., or in a module `Normalize`.
_KEY = re.compile(
    r"(?:(?:normali[sz]e|normali[sz]er|normali[sz]ation|norm|preprocess|0)\.)?"
    r"(?:(?P<mean>mean|means|mu)|(?P<std>std|stds|sds|sigma))"
)


def is_constant(key: str) -> bool:
    """Return whether a key of a state dict, without its prefix, names a constant."""
    return _KEY.fullmatch(key) is not None


def constants_in(arrays: Mapping[str, np.ndarray]) -> Standardization | None:
    """Return the standardization in a state dict, or None if it contains none.

    Args:
        arrays: the arrays by key, without prefixes.

    Raises:
        ValueError: the constants are not one value per channel.
    """
    found: dict[str, np.ndarray] = {}
    for key, array in arrays.items():
        if match := _KEY.fullmatch(key):
            found[str(match.lastgroup)] = np.asarray(array, float).reshape(-1)
    if not found:
        return None
    size = max(array.size for array in found.values())
    mean = found.get("mean", np.zeros(size))
    std = found.get("std", np.ones(size))
    if {mean.size, std.size} - {1, size} or not (std > 0).all():
        raise ValueError(
            "the standardization of the images must have one mean and one positive std "
            f"per channel. Received: mean {mean.tolist()[:4]}, std {std.tolist()[:4]}."
        )
    return _plain(np.array([np.broadcast_to(each, size) for each in (mean, std)]))
