"""The constants that a network standardizes its images with, (x - mean) / std.

A network that is given images of another standardization computes wrong logits without
a word. So networks name their constants, files of weights may hold them, and `convert`
compares both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import keras
import numpy as np

Given: TypeAlias = str | Sequence[float] | None

# Published constants are rounded, some to three digits.
TOLERANCE = 6e-4


class Standardization(NamedTuple):
    """One mean and one standard deviation for each channel, or none at all.

    Attributes:
        mean: subtracted from the images, which lie in [0, 1].
        std: divides what is left, positive.
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def agrees(self, other: Standardization) -> bool:
        """Tell whether both do the same, up to the rounding of published constants."""
        size = max(len(self.mean), len(other.mean))
        ours, theirs = self._arrays(size), other._arrays(size)
        return ours.shape == theirs.shape and bool(
            np.allclose(ours, theirs, rtol=0, atol=TOLERANCE)
        )

    def _arrays(self, size: int) -> np.ndarray:
        return np.array([self.mean or (0.0,) * size, self.std or (1.0,) * size])

    def __str__(self) -> str:
        """Return the arguments that give a network these constants."""
        values = [", ".join(f"{each:.4g}" for each in part) for part in self]
        return f"mean=({values[0]}), std=({values[1]})" if self.mean else "none"


DATA_SETS = {
    "cifar10": Standardization((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)),
    "cifar100": Standardization((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "tiny_imagenet": Standardization(
        (0.4802, 0.4481, 0.3975), (0.2302, 0.2265, 0.2262)
    ),
}
"""Name -> the constants that the public codes use for this data set."""

TWICE_MINUS_ONE = "2x-1"
"""Name of the standardization to [-1, 1], for any number of channels."""

NAMES = (*DATA_SETS, TWICE_MINUS_ONE)


def standardization(mean: Given, std: Given, channels: int) -> Standardization:
    """Return the constants that the arguments of a network stand for.

    Args:
        mean: one value for each channel, a name of `NAMES`, which then stands for the
            standard deviation too, or empty or None for none.
        std: the same for the standard deviation.
        channels: of an image.

    Raises:
        ValueError: the name is unknown, or the values fit neither each other nor the
            channels.
    """
    names = {each for each in (mean, std) if isinstance(each, str)}
    if names:
        name = names.pop()
        if names or any(each and not isinstance(each, str) for each in (mean, std)):
            raise ValueError(
                "A name stands for both `mean` and `std`: give both the same name, or "
                f"both values for each channel. Received: mean={mean!r}, std={std!r}."
            )
        if name not in NAMES:
            raise ValueError(
                "`mean` and `std` must be values for each channel or one of the names "
                f"{', '.join(map(repr, NAMES))}. Received: {name!r}."
            )
        half = (0.5,) * channels
        found = DATA_SETS.get(name, Standardization(half, half))
    else:
        found = Standardization(tuple(mean or ()), tuple(std or ()))  # type: ignore[arg-type]
    fits = len(found.mean) == len(found.std) in (0, channels)
    if not fits or any(each <= 0 for each in found.std):
        raise ValueError(
            "`mean` and `std` must have one value for each of the "
            f"{channels} channels, those of `std` positive, or both be (). "
            f"Received: mean={found.mean}, std={found.std}."
        )
    return found


def standardized(x: keras.KerasTensor, mean: Given, std: Given) -> keras.KerasTensor:
    """Compute (x - mean) / std with constants; return x itself if there are none.

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
    # Keras moves the axis of constants with one axis where its default is channels
    # first, and leaves those with three axes as they are.
    scale = [1 / std for std in constants.std]
    return keras.layers.Rescaling([[scale]], [[offset]])(x)


class Body(NamedTuple):
    """A network, divided into its standardization and the layers after it.

    Attributes:
        standardization: what is done to the images first.
        layers: the other layers, the input left out.
        wrapped: whether the standardization stands outside of the network, as in
            `keras.Sequential([Rescaling(...), network])`.
    """

    standardization: Standardization
    layers: list[Any]
    wrapped: bool


def body_of(network: keras.Model) -> Body:
    """Divide a network into the standardization of its images and the rest.

    Raises:
        ValueError: the standardization is not one value for each channel, or stands
            both outside and inside of the network.
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
                    f"second time by {layers[0].name!r}. A PyTorch file has room for "
                    "one: convert the inner network, or leave one of them out."
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
            "(x - mean) / std with one mean and one positive std for each channel, "
            f"as a PyTorch file can say it. Received: mean of shape {mean.shape}, std "
            f"{np.unique(std)[:4].tolist()}. Convert the network without this layer, "
            "and apply it to the images yourself."
        )
    return _plain(values)


def _plain(values: np.ndarray) -> Standardization:
    """Return rows of mean and std, none where they change nothing."""
    if not values[0].any() and (values[1] == 1).all():
        return Standardization()
    # The digits of a float32: the inverse of an inverse is off by a rounding.
    rows = ([float(f"{each:.7g}") for each in row] for row in values)
    return Standardization(*map(tuple, rows))


# As RobustBench, Rice et al. and Wong et al. name them, or a first module `Normalize`.
_KEY = re.compile(
    r"(?:(?:normali[sz]e|normali[sz]er|normali[sz]ation|norm|preprocess|0)\.)?"
    r"(?:(?P<mean>mean|means|mu)|(?P<std>std|stds|sds|sigma))"
)


def is_constant(key: str) -> bool:
    """Tell whether a key of a state dict, its prefix left out, names such constants."""
    return _KEY.fullmatch(key) is not None


def constants_in(arrays: Mapping[str, np.ndarray]) -> Standardization | None:
    """Return the constants that a state dict holds, None where it holds none.

    Args:
        arrays: by key, prefixes left out.

    Raises:
        ValueError: they are no values for each channel.
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
            "the constants of the images' standardization must be one value for each "
            f"channel, those of std positive. Received: mean {mean.tolist()[:4]}, std "
            f"{std.tolist()[:4]}."
        )
    return _plain(np.array([np.broadcast_to(each, size) for each in (mean, std)]))
