"""Short texts that are equal where models, images and attacks are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from kmtard.attacks import Attack
from kmtard.attacks.classifier import Classifier


def fingerprint(*parts: Any) -> str:
    """Return 16 hexadecimal digits that stand for arrays and plain values.

    Args:
        *parts: numpy arrays, or what JSON can hold.
    """
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).data)
        else:
            digest.update(json.dumps(part, sort_keys=True).encode())
    return digest.hexdigest()[:16]


def model_fingerprint(model: Any) -> str:
    """Return 16 hexadecimal digits that stand for a model's structure and weights."""
    try:
        structure = model.to_json()
    except (NotImplementedError, TypeError, ValueError):
        structure = type(model).__name__  # a subclassed model without `get_config`
    return fingerprint(structure, *model.get_weights())


def weights_fingerprint(model: Any) -> str:
    """Return 16 hexadecimal digits that stand for a model's weights alone.

    A network in training and the same one read from its file have equal weights, and
    not always equal texts of their structure.
    """
    return fingerprint(*model.get_weights())


def settings_of(attack: Attack) -> dict[str, Any]:
    """Return an attack's class and arguments as JSON, models by their fingerprints."""
    config = {key: _plain(value) for key, value in attack.get_config().items()}
    return {"kind": type(attack).__name__, **config}


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
