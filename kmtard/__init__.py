"""Adversarial robustness distillation on Keras 3.

Every room is an attribute of this package (`kmtard.evaluation.evaluate`,
`kmtard.networks.resnet18`), imported when it is first used: `import kmtard` itself
loads no Keras, so that a light process (the launcher) can use the light rooms.
`keras.models.load_model` finds the classes of kmtard from then on, whichever of the two
was imported first.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from kmtard import saved_classes

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


saved_classes.install()
