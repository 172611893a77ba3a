"""Keep the weights of some layers as they are during training."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

import keras

SHOWN = 20


def freeze(network: keras.Model, names: Sequence[str]) -> list[str]:
    """Freeze the layers with these names, also those of nested models.

    A frozen BatchNormalization uses its moving averages and does not update them.

    Args:
        network: any Keras model, which is changed.
        names: names of layers, in which `*` stands for any text.

    Returns:
        The names of the frozen layers.

    Raises:
        ValueError: no layer has such a name.

    Example:
        >>> network = kmtard.networks.small_cnn(10, (8, 8, 1))
        >>> len(kmtard.networks.freezing.freeze(network, ["conv2d*"]))
        3
    """
    layers = [each for each in network._flatten_layers(include_self=False)]
    frozen = []
    for name in names:
        found = [each for each in layers if fnmatchcase(each.name, name)]
        if not found:
            known = [each.name for each in layers if each.weights]
            more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
            raise ValueError(
                f"Expected names of layers, in which * stands for any text. Received: "
                f"{name!r}, which no layer has. The layers are "
                f"{', '.join(known[:SHOWN])}{more}."
            )
        for each in found:
            each.trainable = False
            frozen.append(each.name)
    return list(dict.fromkeys(frozen))
