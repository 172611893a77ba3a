"""How `keras.models.load_model` finds the classes of kmtard after `import kmtard`.

Keras looks up the classes that a file names in one table, into which a class comes when
its module is imported. `import kmtard` loads no Keras and none of these modules.
Instead, as soon as Keras is loaded, each class gets a stand-in in that table, which
imports the class when a file needs it. Imports nothing but `kmtard.registry`.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

ATTACKS = ("APGD", "AutoAttack", "FAB", "GradientEstimation", "PGD", "RayS", "Square")


def places() -> dict[str, str]:
    """Return registered name -> `module:Class` of all classes that files may name."""
    # It takes a third of the time that `import kmtard` may take.
    from kmtard import registry

    classes = [
        *registry.METHODS.values(),
        "kmtard.methods:MultiTeacherDistiller",
        *(f"kmtard.attacks:{name}" for name in ATTACKS),
        "kmtard.optimizers:L2SGD",
    ]
    return {f"kmtard>{place.partition(':')[2]}": place for place in classes}


class StandIn:
    """Stands for a class in Keras's table until a file asks for the class.

    Args:
        place: `module:Class`.
    """

    def __init__(self, place: str) -> None:
        self.place = place

    def __repr__(self) -> str:
        return f"<class {self.place!r}>"

    def from_config(self, config: dict[str, Any]) -> Any:
        """Return an object of the class, which takes its own place in the table."""
        module, _, name = self.place.partition(":")
        return getattr(import_module(module), name).from_config(config)


def register(keras: ModuleType) -> None:
    """Put the stand-ins into the table; classes that are there already stay."""
    table = keras.saving.get_custom_objects()
    for name, place in places().items():
        table.setdefault(name, StandIn(place))


class KerasHook:
    """Calls `register` when `import keras` has ended; finds no module itself."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Return the other finders' spec of Keras, and None for all other modules."""
        if fullname != "keras":
            return None
        others = (each for each in sys.meta_path if not isinstance(each, KerasHook))
        specs = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next(filter(None, specs), None)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module: ModuleType) -> None:
                execute(module)
                register(module)

            # On the instance, so that the loader keeps its type for whoever asks.
            spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec


def install() -> None:
    """Register the stand-ins now if Keras is loaded, else when it will be."""
    sys.meta_path.insert(0, KerasHook())
    if "keras" in sys.modules:
        # Another thread may still be loading it: this waits for its end.
        register(import_module("keras"))
