"""Short hashes that identify models, images and attacks."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from kmtard.attacks import Attack
from kmtard.attacks.classifier import Classifier


def fingerprint(*parts: Any) -> str:
    """Return a hash of arrays and plain values, 16 hexadecimal digits.

    Args:
        *parts: NumPy arrays, or values that JSON supports.

    Example:
        >>> fingerprint(np.zeros(3), "a") == fingerprint(np.zeros(3), "b")
        False
    """
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).data)
        else:
            digest.update(json.dumps(part, sort_keys=True).encode())
    return digest.hexdigest()[:16]


UNIDENTIFIED = "unidentified"
"""Replaces the hash of a model that its configuration does not identify."""

OWN_PACKAGES = ("keras", "kmtard")


def model_fingerprint(model: Any) -> str:
    """Return a hash of a model's structure and weights.

    Returns:
        16 hexadecimal digits; or `UNIDENTIFIED` if configuration and weights do not
        determine what the model computes, because a class has no `get_config` of its
        own or the configuration contains a Python function.
    """
    try:
        structure = model.to_json()
        sources = [inspect.getsource(each) for each in _own_classes(model)]
    except (AttributeError, NotImplementedError, OSError, TypeError, ValueError):
        return UNIDENTIFIED
    if '"class_name": "function"' in structure:
        return UNIDENTIFIED
    return fingerprint(structure, *sources, *model.get_weights())


def weights_fingerprint(model: Any) -> str | None:
    """Return a hash of a model's weights only.

    A network in training and the same network read from a file have equal weights, but
    not always equal configurations.

    Returns:
        16 hexadecimal digits; or None if equal weights do not imply an equal model, as
        in `model_fingerprint`.
    """
    if model_fingerprint(model) == UNIDENTIFIED:
        return None
    return fingerprint(*model.get_weights())


def _own_classes(model: Any) -> list[type]:
    """Return the classes of a model's layers that neither Keras nor kmtard defines.

    Raises:
        TypeError: one of them has no `get_config` of its own.
    """
    classes = dict.fromkeys(type(layer) for layer in model._flatten_layers())
    own = [each for each in classes if _package(each) not in OWN_PACKAGES]
    for each in own:
        if not any("get_config" in vars(base) for base in each.__mro__ if base in own):
            raise TypeError(f"The class {each.__name__} must define `get_config`.")
    return own


def _package(kind: type) -> str:
    return kind.__module__.partition(".")[0]


def settings_of(attack: Attack) -> dict[str, Any]:
    """Return an attack's class and arguments as plain JSON.

    Models are hashes. A function is its name and a hash of its source, so that batches
    of another loss are not continued.
    """
    config = {key: _plain(value) for key, value in attack.get_config().items()}
    functions = {
        key: _function(value)
        for key, value in vars(attack).items()
        if inspect.isfunction(value) and key in config
    }
    return {"kind": type(attack).__name__, **config, **functions}


def _function(function: Callable[..., Any]) -> str:
    try:
        source = inspect.getsource(function)
    except (OSError, TypeError):
        return UNIDENTIFIED
    return f"{function.__module__}:{function.__qualname__} {fingerprint(source)}"


def _plain(value: Any) -> Any:
    if isinstance(value, Attack):
        return settings_of(value)
    if isinstance(value, Classifier):
        value = value.model
    if isinstance(value, keras.Model):
        return model_fingerprint(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    value = value.item() if hasattr(value, "item") else value
    return value if isinstance(value, str | int | float | None) else repr(value)
