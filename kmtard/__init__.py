"""Adversarial robustness distillation on Keras 3.

Every room is an attribute of this package (`kmtard.evaluation.evaluate`,
`kmtard.networks.resnet18`), imported when it is first used: `import kmtard` itself
loads no Keras, so that a light process (the launcher) can use the light rooms. Where
Keras is loaded already, `keras.models.load_model` finds the methods from then on; in
the other order, after `import kmtard.methods`.
"""

from __future__ import annotations

import contextlib
import sys
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kmtard import (
        attacks,
        backend,
        balance,
        callbacks,
        data,
        evaluation,
        losses,
        methods,
        networks,
        optimizers,
        recipe,
        registry,
        runs,
        training,
    )
    from kmtard.methods.base import AdversarialModel
    from kmtard.methods.multi_teacher import MultiTeacherDistiller

__version__ = "0.1.0"

__all__ = [
    "AdversarialModel",
    "MultiTeacherDistiller",
    "attacks",
    "backend",
    "balance",
    "callbacks",
    "data",
    "evaluation",
    "losses",
    "methods",
    "networks",
    "optimizers",
    "recipe",
    "registry",
    "runs",
    "training",
]

_CLASSES = {
    "AdversarialModel": "kmtard.methods.base",
    "MultiTeacherDistiller": "kmtard.methods.multi_teacher",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(
            f"module 'kmtard' has no attribute {name!r}. Its attributes are "
            f"{', '.join(__all__)}."
        )
    if name in _CLASSES:
        return getattr(import_module(_CLASSES[name]), name)
    return import_module(f"kmtard.{name}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


# Keras finds the classes in a saved model only where they have been registered, and has
# no hook to do so later. A backend that kmtard does not have is refused at first use.
if "keras" in sys.modules:
    with contextlib.suppress(ImportError):
        import_module("kmtard.methods")
