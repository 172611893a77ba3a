"""Training methods, one file each; `AdversarialModel` is what they share."""

from __future__ import annotations

import re
from typing import Any

from kmtard import registry


def build(
    name: str,
    *,
    student: Any,
    nat_teacher: Any = None,
    adv_teacher: Any = None,
    **arguments: Any,
) -> tuple[Any, list]:
    """Make a method by name.

    Args:
        name: as in `registry.METHODS`, or "package.module:Class" for your own.
        student: any Keras model from images in [0, 1] to logits.
        nat_teacher: clean teacher, for the methods that need one.
        adv_teacher: robust teacher, for the methods that need one.
        **arguments: the method's own, and those of `AdversarialModel`
            (`registry.options("methods", name)` has them with their defaults).

    Returns:
        (model, callbacks) for `model.fit(..., callbacks=callbacks)`.

    Raises:
        RegistryError: there is no such method.
        ValueError: a teacher is missing, or one given that the method has no use for,
            or an argument is not known or out of its range.
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
            f"{', '.join(role for role in networks if role in given)}"
        )
    method = registry.resolve("methods", name)
    try:
        built = method(*(networks[role] for role in needed), **arguments)
    except TypeError as error:
        # Only Python knows all that `**kwargs` may hold in a method of the user's own.
        match = re.search("unexpected keyword argument '(.+?)'", str(error))
        if match is None:
            raise
        known = {*registry.options("methods", name), *registry.RESERVED - {"dtype"}}
        near = registry.nearest(match[1], known)
        raise ValueError(
            f"Method {name!r} has no argument {match[1]!r}."
            + (f" Did you mean {near}?" if near else "")
            + f" It has: {', '.join(sorted(known))}"
        ) from error
    return built if isinstance(built, tuple) else (built, built.default_callbacks())
