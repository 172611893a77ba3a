"""Training methods, one file per method.

All methods are subclasses of `AdversarialModel`. An addition (`Addition`) extends the
loss of any of them. Methods may import attacks, callbacks, balances, losses and the
backend. They do not use recipes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmtard import registry
from kmtard.backend.types import Network
from kmtard.methods.absld import ABSLD
from kmtard.methods.adaad import AdaAD
from kmtard.methods.addition import Addition
from kmtard.methods.ard import ARD
from kmtard.methods.b_mtard import BMTARD
from kmtard.methods.base import AdversarialModel
from kmtard.methods.baseline import Baseline
from kmtard.methods.baseline_ebb import BaselineEBB
from kmtard.methods.batch import Batch, Logits
from kmtard.methods.distiller import Distiller
from kmtard.methods.fair_ard import FairARD
from kmtard.methods.iad import IAD
from kmtard.methods.lmtn import LMTN
from kmtard.methods.mart import MART
from kmtard.methods.mtard import MTARD
from kmtard.methods.multi_teacher import MultiTeacherDistiller
from kmtard.methods.natural import Natural
from kmtard.methods.rslad import RSLAD
from kmtard.methods.sat import SAT
from kmtard.methods.score import SCORE
from kmtard.methods.trades import TRADES

if TYPE_CHECKING:
    import keras

__all__ = [
    "ABSLD",
    "ARD",
    "AdaAD",
    "Addition",
    "AdversarialModel",
    "BMTARD",
    "Baseline",
    "BaselineEBB",
    "Batch",
    "Distiller",
    "FairARD",
    "IAD",
    "LMTN",
    "Logits",
    "MART",
    "MTARD",
    "MultiTeacherDistiller",
    "Natural",
    "RSLAD",
    "SAT",
    "SCORE",
    "TRADES",
    "build",
]


def build(
    name: str,
    *,
    student: Network,
    nat_teacher: Network | None = None,
    adv_teacher: Network | None = None,
    **arguments: Any,
) -> tuple[AdversarialModel, list[keras.callbacks.Callback]]:
    """Build a method by name.

    Args:
        name: a name in `registry.METHODS`, or "package.module:Class" for your own
            class.
        student: any Keras model from images in [0, 1] to logits.
        nat_teacher: clean teacher, for methods that need one.
        adv_teacher: robust teacher, for methods that need one.
        **arguments: arguments of the method and of `AdversarialModel`;
            `registry.options("methods", name)` returns them with their defaults.

    Returns:
        (model, callbacks) for `model.fit(..., callbacks=callbacks)`.

    Raises:
        RegistryError: no method has this name.
        ValueError: a teacher is missing or not needed, an argument is unknown or out of
            its range, or the name refers to something other than a method.

    Example:
        >>> import kmtard
        >>> student, teacher = (
        ...     kmtard.networks.small_cnn(10, (8, 8, 1)) for _ in range(2)
        ... )
        >>> model, callbacks = kmtard.methods.build(
        ...     "rslad", student=student, adv_teacher=teacher, class_scale=1.0
        ... )
        >>> model.class_scale
        1.0
    """
    networks = {
        "student": student,
        "nat_teacher": nat_teacher,
        "adv_teacher": adv_teacher,
    }
    given = {role for role, network in networks.items() if network is not None}
    needed = registry.positional("methods", name)
    if given != set(needed):
        raise ValueError(
            f"Method {name!r} needs {', '.join(needed)}. Received: "
            f"{', '.join(role for role in networks if role in given)}."
        )
    known = registry.keywords("methods", name)
    for argument in arguments:
        if argument not in known:
            near = registry.nearest(argument, known)
            raise ValueError(
                f"Method {name!r} has no argument {argument!r}."
                + (f" Did you mean {near}?" if near else "")
                + f" Its arguments are {', '.join(sorted(known))}."
            )
    method = registry.resolve("methods", name)
    if not (isinstance(method, type) and issubclass(method, AdversarialModel)):
        raise ValueError(
            f"Method {name!r} must be a subclass of kmtard.AdversarialModel. "
            f"Received: {method!r}."
        )
    model = method(*(networks[role] for role in needed), **arguments)
    return model, model.default_callbacks()
