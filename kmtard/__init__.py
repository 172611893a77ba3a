"""Adversarial robustness distillation on Keras 3.

Every room is an attribute of this package (`kmtard.evaluation.evaluate`,
`kmtard.networks.resnet18`), imported when it is first used: `import kmtard` itself
loads no Keras, so that a light process (the launcher) can use the light rooms.
`keras.models.load_model` finds the classes of kmtard from then on, whichever of the two
was imported first.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

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


def _register(keras: ModuleType) -> None:
    # Imported late, because it takes a third of the time of `import kmtard`.
    import_module("kmtard.registry.saved_classes").register(keras)


class _KerasHook:
    """Registers the classes in Keras as soon as it is imported."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Return the other finders' spec of Keras, and None for all other modules."""
        if fullname != "keras":
            return None
        others = (each for each in sys.meta_path if not isinstance(each, _KerasHook))
        specs = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next(filter(None, specs), None)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module: ModuleType) -> None:
                execute(module)
                _register(module)

            # Set on the instance, so that the loader keeps its type.
            spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, _KerasHook())
if "keras" in sys.modules:
    # Another thread may still be importing it; this waits until it has ended.
    _register(import_module("keras"))
