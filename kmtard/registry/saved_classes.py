"""How `keras.models.load_model` finds the classes of kmtard after `import kmtard`.

Keras looks up the classes in a file by name, in one table. A class enters the table
when its module is imported, but `import kmtard` imports none of these modules. Instead,
once Keras is loaded, `kmtard` adds a placeholder for each class. The placeholder
imports the class when a file needs it.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

from kmtard import registry

ATTACKS = (
    *("APGD", "AutoAttack", "CWL2", "DDN", "DeepFool", "EOT", "FAB", "FMN"),
    *("GradientEstimation", "HopSkipJump", "MomentumFGSM", "PGD", "RayS", "Square"),
)


def places() -> dict[str, str]:
    """Return registered name -> `module:Class` for every class that files can contain.

    Example:
        >>> places()["kmtard>L2SGD"]
        'kmtard.optimizers:L2SGD'
    """
    classes = [
        *registry.METHODS.values(),
        "kmtard.methods:MultiTeacherDistiller",
        *(f"kmtard.attacks:{name}" for name in (*ATTACKS, "Ensemble")),
        "kmtard.optimizers:L2SGD",
        "kmtard.networks.blocks:CosineLogits",
        "kmtard.networks.wide_resnet_variants:PSSiLU",
    ]
    return {f"kmtard>{place.partition(':')[2]}": place for place in classes}


class StandIn:
    """A placeholder for a class in Keras's table, until a file needs the class.

    Args:
        place: `module:Class`.
    """

    def __init__(self, place: str) -> None:
        self.place = place

    def __repr__(self) -> str:
        return f"<class {self.place!r}>"

    def from_config(self, config: dict[str, Any]) -> Any:
        """Return an object of the class. Its import replaces this placeholder."""
        module, _, name = self.place.partition(":")
        return getattr(import_module(module), name).from_config(config)


def register(keras: ModuleType) -> None:
    """Add the placeholders to Keras's table. Existing entries are kept."""
    table = keras.saving.get_custom_objects()
    for name, place in places().items():
        table.setdefault(name, StandIn(place))
