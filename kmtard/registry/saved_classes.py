"""How `keras.models.load_model` finds the classes of kmtard after `import kmtard`.

Keras looks up the classes that a file names in one table. A class is added to it when
its module is imported, and `import kmtard` imports none of these modules. Instead, as
soon as Keras is loaded, `kmtard` adds a stand-in for each class, which imports the
class when a file needs it.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

from kmtard import registry

ATTACKS = ("APGD", "AutoAttack", "FAB", "GradientEstimation", "PGD", "RayS", "Square")


def places() -> dict[str, str]:
    """Return registered name -> `module:Class` of all classes that files may name."""
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
