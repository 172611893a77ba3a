"""Checks that involve several sections of a recipe."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeGuard

from kmtard import registry
from kmtard.recipe.document import Table, method_key, table_at
from kmtard.recipe.errors import Mistake, key_text
from kmtard.registry.roles import TEACHERS, Role


def mismatches(document: Table) -> Iterator[Mistake]:
    """Yield one mistake for each pair of settings that do not fit together.

    The rest of the recipe may contain any mistakes.
    """
    yield from _lacking_teachers(document)
    for role in TEACHERS:
        if role in document:
            yield from _idle_teacher(role, document)
            yield from _unclear_origin(role, table_at(document, role))
    yield from _no_images_to_select_on(document)
    yield from _no_surrogate(document)
    yield from _norms(document)
    yield from _indivisible(document)
    yield from _uneven_nodes(document)


def _lacking_teachers(document: Table) -> Iterator[Mistake]:
    """Check that the recipe has the teachers that the student's method takes."""
    name = table_at(document, "method").get("name")
    for teacher in _teachers_of(name):
        if teacher not in document:
            message = f"section is missing, but the method {name} needs it"
            yield Mistake(teacher, message)


def _idle_teacher(role: Role, document: Table) -> Iterator[Mistake]:
    """Check that a teacher is not trained by a method that takes teachers itself."""
    name = table_at(document, role, "method").get("name")
    if _teachers_of(name):
        message = "expected a method that needs no teacher, such as natural or trades"
        yield Mistake(f"{role}.method.name", message, name)


def _teachers_of(method: object) -> list[Role]:
    taken = parameters("methods", method)
    return [teacher for teacher in TEACHERS if teacher in taken]


def _unclear_origin(role: Role, teacher: Table) -> Iterator[Mistake]:
    """Check that a teacher either is read from a file or is trained."""
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
    """Check that transfer attacks have a robust teacher to transfer from."""
    names = table_at(document, "evaluation").get("attacks", [])
    if "adv_teacher" in document or not isinstance(names, list):
        return
    for name in names:
        if "surrogate" in parameters("attacks", name):
            message = (
                f"{name} needs the table [adv_teacher]: its images are crafted on "
                "that model"
            )
            yield Mistake(key_text(("evaluation", "attacks")), message)


def _indivisible(document: Table) -> Iterator[Mistake]:
    """Check that the backend supports several devices, which share a batch."""
    runtime = table_at(document, "runtime")
    devices, processes = runtime.get("devices", 1), runtime.get("processes", 1)
    batch = table_at(document, "data").get("batch_size")
    if not (_is_count(devices) or devices == "all"):
        return
    several = [key for key in ("devices", "processes") if runtime.get(key, 1) != 1]
    if several and runtime.get("backend", "tensorflow") != "jax":
        message = (
            "expected 1, because only the backend jax trains one network on several "
            'devices; set runtime.backend = "jax", or train several runs at once, '
            "each on a device of its own"
        )
        yield Mistake(f"runtime.{several[0]}", message, runtime[several[0]])
    elif _is_count(devices) and _is_count(processes):
        if devices % processes:
            message = (
                f"expected a multiple of runtime.processes = {processes}, since each "
                "process has as many devices"
            )
            yield Mistake("runtime.devices", message, devices)
        elif _is_count(batch) and batch % devices:
            message = (
                f"expected a multiple of runtime.devices = {devices}, which share "
                f"each batch equally, such as {_near(batch, devices)}"
            )
            yield Mistake("data.batch_size", message, batch)


def _uneven_nodes(document: Table) -> Iterator[Mistake]:
    """Check that SLURM's nodes can share the processes of a run equally."""
    processes = table_at(document, "runtime").get("processes", 1)
    nodes = table_at(document, "study", "slurm").get("nodes", 1)
    if _is_count(processes) and _is_count(nodes) and processes % nodes:
        message = (
            f"expected a divisor of runtime.processes = {processes}, which the nodes "
            "share equally"
        )
        yield Mistake("study.slurm.nodes", message, nodes)


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and value >= 1


def _near(count: int, divisor: int) -> int:
    """Return the multiple of `divisor` that is nearest to `count`."""
    return max(1, round(count / divisor)) * divisor


def _norms(document: Table) -> Iterator[Mistake]:
    """Check that the attacks support the norm of the evaluation."""
    evaluation = table_at(document, "evaluation")
    name = table_at(document, "method").get("name")
    own = table_at(document, "methods", method_key(document, name), "attack")
    trained = own.get("norm", table_at(document, "attack").get("norm", "linf"))
    norm = evaluation.get("norm", trained)
    if norm not in ("linf", "l2"):  # the schema reports it
        return
    if norm == "l2" and evaluation.get("suite") not in (None, "standard"):
        message = (
            'expected "standard" or no suite, because the norm is l2 and other suites '
            "use L_inf"
        )
        yield Mistake("evaluation.suite", message, evaluation["suite"])
    names = evaluation.get("attacks", [])
    for each in names if isinstance(names, list) else []:
        if isinstance(each, str) and _known(each) and norm not in registry.norms(each):
            able = [a for a in registry.ATTACKS if norm in registry.norms(a)]
            message = f"expected attacks that support {norm}: {', '.join(able)}"
            yield Mistake(key_text(("evaluation", "attacks")), message, each)


def _known(attack: str) -> bool:
    try:
        registry.keywords("attacks", attack)
    except registry.RegistryError:
        return False
    return True


def parameters(table: str, name: object) -> tuple[str, ...]:
    """Return the positional parameters of an object; empty for an unknown name.

    An unknown name is reported by the schema.
    """
    try:
        return registry.positional(table, name) if isinstance(name, str) else ()
    except registry.RegistryError:
        return ()
