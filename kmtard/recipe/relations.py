"""What the sections of a recipe demand of one another."""

from __future__ import annotations

from collections.abc import Iterator

from kmtard import registry
from kmtard.recipe.document import Table, method_key, table_at
from kmtard.recipe.errors import Mistake, key_text
from kmtard.registry.roles import TEACHERS, Role


def mismatches(document: Table) -> Iterator[Mistake]:
    """Yield what does not fit together, whatever else is wrong with the recipe."""
    yield from _lacking_teachers(document)
    for role in TEACHERS:
        if role in document:
            yield from _idle_teacher(role, document)
            yield from _unclear_origin(role, table_at(document, role))
    yield from _no_images_to_select_on(document)
    yield from _no_surrogate(document)
    yield from _linf_only(document)


def _lacking_teachers(document: Table) -> Iterator[Mistake]:
    """Check that the student's method gets the teachers it takes."""
    name = table_at(document, "method").get("name")
    for teacher in _teachers_of(name):
        if teacher not in document:
            message = f"section is missing, but the method {name} needs it"
            yield Mistake(teacher, message)


def _idle_teacher(role: Role, document: Table) -> Iterator[Mistake]:
    """Refuse to train a teacher by a method that takes teachers itself."""
    name = table_at(document, role, "method").get("name")
    if _teachers_of(name):
        message = "expected a method that needs no teacher, such as natural or trades"
        yield Mistake(f"{role}.method.name", message, name)


def _teachers_of(method: object) -> list[Role]:
    taken = parameters("methods", method)
    return [teacher for teacher in TEACHERS if teacher in taken]


def _unclear_origin(role: Role, teacher: Table) -> Iterator[Mistake]:
    """Check that a teacher comes from one place only."""
    trained = teacher.get("train") is True
    if trained == ("weights" in teacher):
        message = "expected either weights or train = true"
        received = "both" if trained else "neither"
        yield Mistake(role, f"{message}; received {received}")
    elif trained and "method" not in teacher:
        message = "section is missing, but train = true needs it"
        yield Mistake(f"{role}.method", message)


def _no_images_to_select_on(document: Table) -> Iterator[Mistake]:
    selection = table_at(document, "evaluation").get("selection", "held_out")
    if selection == "held_out" and table_at(document, "data").get("held_out") == 0:
        message = 'expected "test", since data.held_out = 0 keeps no images'
        yield Mistake("evaluation.selection", message, selection)


def _no_surrogate(document: Table) -> Iterator[Mistake]:
    """Refuse transferred images where there is no robust teacher to craft them on."""
    names = table_at(document, "evaluation").get("attacks", [])
    if "adv_teacher" in document or not isinstance(names, list):
        return
    for name in names:
        if "surrogate" in parameters("attacks", name):
            message = (
                f"{name} needs the table [adv_teacher], the model it transfers from"
            )
            yield Mistake(key_text(("evaluation", "attacks")), message)


def _linf_only(document: Table) -> Iterator[Mistake]:
    """Refuse attacks that cannot be had in the norm of the evaluation."""
    evaluation = table_at(document, "evaluation")
    name = table_at(document, "method").get("name")
    own = table_at(document, "methods", method_key(document, name), "attack")
    trained = own.get("norm", table_at(document, "attack").get("norm"))
    if evaluation.get("norm", trained) != "l2":
        return
    if evaluation.get("suite") is not None:
        message = "expected no suite where the norm is l2: it holds attacks of L_inf"
        yield Mistake("evaluation.suite", message, evaluation["suite"])
    names = evaluation.get("attacks", [])
    for each in names if isinstance(names, list) else []:
        if isinstance(each, str) and _known(each) and not registry.takes_l2(each):
            able = ", ".join(filter(registry.takes_l2, registry.ATTACKS))
            message = f"expected attacks that can be had in l2: {able}"
            yield Mistake(key_text(("evaluation", "attacks")), message, each)


def _known(attack: str) -> bool:
    try:
        registry.keywords("attacks", attack)
    except registry.RegistryError:
        return False
    return True


def parameters(table: str, name: object) -> tuple[str, ...]:
    """Return the positional parameters of an object; none for an unknown name.

    The name itself is checked where it stands.
    """
    try:
        return registry.positional(table, name) if isinstance(name, str) else ()
    except registry.RegistryError:
        return ()
