"""Adversarial robustness distillation on Keras 3.

Public names are resolved when first used: importing this package imports no Keras,
so that a light process (the launcher) can use its light modules.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kmtard import (
        attacks,
        balance,
        callbacks,
        losses,
        methods,
        networks,
        optimizers,
        recipe,
        registry,
        runs,
    )
    from kmtard.methods.base import AdversarialModel
    from kmtard.methods.multi_teacher import MultiTeacherDistiller

__version__ = "0.1.0"

__all__ = [
    "AdversarialModel",
    "MultiTeacherDistiller",
    "attacks",
    "balance",
    "callbacks",
    "losses",
    "methods",
    "networks",
    "optimizers",
    "recipe",
    "registry",
    "runs",
]

_CLASSES = {
    "AdversarialModel": "kmtard.methods.base",
    "MultiTeacherDistiller": "kmtard.methods.multi_teacher",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(
            f"module 'kmtard' has no attribute {name!r}; its names are "
            + ", ".join(__all__)
        )
    if name in _CLASSES:
        return getattr(import_module(_CLASSES[name]), name)
    return import_module(f"kmtard.{name}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
