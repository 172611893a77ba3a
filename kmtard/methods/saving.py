"""Helpers for saving and loading methods, where they differ from Keras models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras

from kmtard.backend.types import Network


@contextmanager
def hidden(model: keras.Model, networks: Mapping[str, Network]) -> Iterator[None]:
    """Hide networks from Keras while it saves or loads the attributes of a model.

    Frozen teachers are not saved, because one may be a hundred times as large as the
    student.

    Args:
        model: the model that contains the networks.
        networks: attribute name -> network.
    """
    attributes = vars(model)
    # PyTorch stores attributes that are modules in a separate dictionary.
    home = attributes if networks.keys() <= attributes.keys() else model._modules
    layers = list(model._layers)
    for role in networks:
        del home[role]
    # Keras also visits its list of layers, before the attributes.
    model._layers[:] = [layer for layer in layers if layer not in networks.values()]
    try:
        yield
    finally:
        model._layers[:] = layers
        home.update(networks)


def deserialized(config: dict[str, Any], custom_objects: Any = None) -> dict[str, Any]:
    """Return the constructor arguments in a config, with its objects deserialized."""
    return {
        key: keras.saving.deserialize_keras_object(value, custom_objects)
        if isinstance(value, (dict, list))
        else value
        for key, value in config.items()
    }
