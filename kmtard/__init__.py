"""Adversarial robustness distillation on Keras 3.

Every subpackage is an attribute of `kmtard` (`kmtard.evaluation.evaluate`,
`kmtard.networks.resnet18`) and is imported at its first use. `import kmtard` alone does
not load Keras, so that the launcher starts quickly.

`keras.models.load_model` needs `kmtard.methods` to be imported before it can load a
saved method. `import kmtard` does this if Keras is already loaded; otherwise, write
`import kmtard.methods`.
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


# Keras loads a saved method only after its class has been registered, and has no hook
# to register it on demand. An unsupported backend raises at first use, not here.
if "keras" in sys.modules:
    with contextlib.suppress(ImportError):
        import_module("kmtard.methods")
