"""What saving a method needs beyond Keras' own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras


@contextmanager
def without_teachers(model: Any) -> Iterator[None]:
    """Hide the teachers from Keras' walk over a model's attributes.

    They are frozen and may be a hundred times the student's size.
    """
    teachers = {role: net for role, net in model.networks.items() if role != "student"}
    attributes = vars(model)
    # PyTorch keeps the modules among the attributes apart.
    home = attributes if teachers.keys() <= attributes.keys() else model._modules
    layers = list(model._layers)
    for role in teachers:
        del home[role]
    # Keras walks its list of layers as well, and before the attributes.
    model._layers[:] = [layer for layer in layers if layer not in teachers.values()]
    try:
        yield
    finally:
        model._layers[:] = layers
        home.update(teachers)


def deserialized(config: dict, custom_objects: Any = None) -> dict:
    """Turn the serialised objects of a config back into objects."""
    return {
        key: keras.saving.deserialize_keras_object(value, custom_objects)
        if isinstance(value, dict)
        else value
        for key, value in config.items()
    }
