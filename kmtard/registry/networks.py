"""Networks that a recipe names by a file, or by their name in Keras or RobustBench.

Besides the names of its table and the user's own code, a network may be a `.keras`
file, which holds architecture and weights, one of `keras.applications`, or a model of
RobustBench. All are data, not code: Keras refuses files with Python code in them. So
they need no trust.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

from kmtard.registry import robustbench
from kmtard.registry.errors import RegistryError

FILE = "kmtard.networks.own_model:own_model"
ROBUSTBENCH = "kmtard.networks.robustbench:robustbench"
APPLICATION = "kmtard.networks.applications:application"
PREFIX = "keras.applications:"

APPLICATIONS = (
    *("ConvNeXtBase", "ConvNeXtLarge", "ConvNeXtSmall", "ConvNeXtTiny"),
    *("ConvNeXtXLarge", "DenseNet121", "DenseNet169", "DenseNet201"),
    *(f"EfficientNetB{size}" for size in range(8)),
    *(f"EfficientNetV2{size}" for size in ("B0", "B1", "B2", "B3", "L", "M", "S")),
    *("InceptionResNetV2", "InceptionV3", "MobileNet", "MobileNetV2"),
    *("MobileNetV3Large", "MobileNetV3Small", "NASNetLarge", "NASNetMobile"),
    *("ResNet101", "ResNet101V2", "ResNet152", "ResNet152V2", "ResNet50"),
    *("ResNet50V2", "VGG16", "VGG19", "Xception"),
)
"""The networks of `keras.applications`, which a recipe names with `PREFIX`."""


class Place(NamedTuple):
    """The function that builds a network, and its first argument.

    Attributes:
        target: `module:function`.
        given: path of the file, or name of the network in Keras or RobustBench.
    """

    target: str
    given: str


def is_file(name: str) -> bool:
    """Return whether a network is named by its `.keras` file.

    Example:
        >>> is_file("models/mine.keras"), is_file("resnet18")
        (True, False)
    """
    return name.endswith(".keras")


def is_special(name: str) -> bool:
    """Return whether a network is named by its file, or as in Keras or RobustBench."""
    return is_file(name) or name.startswith((PREFIX, robustbench.PREFIX))


def place(name: str) -> Place | None:
    """Return what builds a network that is named in one of these ways, else None.

    Raises:
        RegistryError: `keras.applications` or RobustBench has no such network.
    """
    if is_file(name):
        return Place(FILE, name)
    if name.startswith(robustbench.PREFIX):
        robustbench.candidates(name)
        return Place(ROBUSTBENCH, name.removeprefix(robustbench.PREFIX))
    if not name.startswith(PREFIX):
        return None
    given = name.removeprefix(PREFIX)
    if given not in APPLICATIONS:
        from kmtard.registry import nearest

        near = nearest(given, APPLICATIONS)
        raise RegistryError(
            f"{PREFIX}NAME with a network of keras.applications",
            repr(name),
            [PREFIX + each for each in APPLICATIONS],
            PREFIX + near if near else None,
        )
    return Place(APPLICATION, given)


def builder(found: Place) -> Callable[..., Any]:
    """Return a function of (num_classes, input_shape) that builds the network."""
    module, _, attribute = found.target.partition(":")
    make = getattr(import_module(module), attribute)

    @functools.wraps(make)
    def build(num_classes: int, input_shape: Any, **options: Any) -> Any:
        return make(num_classes, input_shape, found.given, **options)

    return build
