"""Helpers to save and load methods, where these differ from other Keras models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras

from kmtard.backend.types import Network


@contextmanager
def hidden(model: keras.Model, networks: Mapping[str, Network]) -> Iterator[None]:
    """Hide networks from Keras' walk over a model's attributes.

    A frozen teacher may be a hundred times as large as the student.

    Args:
        model: the model that holds the networks.
        networks: attribute name -> network.
    """
    attributes = vars(model)
    # PyTorch keeps the modules among the attributes apart.
    home = attributes if networks.keys() <= attributes.keys() else model._modules
    layers = list(model._layers)
    for role in networks:
        del home[role]
    # Keras walks its list of layers as well, and before the attributes.
    model._layers[:] = [layer for layer in layers if layer not in networks.values()]
    try:
        yield
    finally:
        model._layers[:] = layers
        home.update(networks)


def deserialized(config: dict[str, Any], custom_objects: Any = None) -> dict[str, Any]:
    """Return constructor arguments, with the objects that a config describes."""
    return {
        key: keras.saving.deserialize_keras_object(value, custom_objects)
        if isinstance(value, (dict, list))
        else value
        for key, value in config.items()
    }
