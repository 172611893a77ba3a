"""Changes to a recipe from the command line: `--method`, `--smoke` and `--set`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from kmtard.recipe.document import Table, method_key, table_at
from kmtard.recipe.document import parse as toml
from kmtard.recipe.errors import Mistake, key_text
from kmtard.recipe.schema import ADJUSTABLE
from kmtard.registry.roles import TEACHERS

SMOKE_TRAIN_IMAGES = 256
SMOKE_TEST_IMAGES = 128
SMOKE_BATCH_SIZE = 32
SMOKE_SCHEDULE = {"epochs": 2, "milestones": [1]}


class Override(NamedTuple):
    """A key and the value that `--set` gives it."""

    path: tuple[str, ...]
    value: Any

    @property
    def key(self) -> str:
        """The dotted key."""
        return key_text(self.path)


def parse(
    texts: Iterable[str], document: Table
) -> tuple[list[Override], list[Mistake]]:
    """Read the arguments of `--set`.

    Args:
        texts: each `table.key=value`, where the value is TOML or plain text.
        document: the recipe. If it spells a method's table with hyphens, so do the
            returned overrides.

    Returns:
        The overrides, and one mistake for each text that is not an override.
    """
    overrides, mistakes = [], []
    for text in texts:
        try:
            path, value = _parsed(text)
        except ValueError:
            shown = " ".join(text.split())
            mistakes.append(Mistake(shown, "expected table.key=value", place="--set"))
            continue
        if path[0] == "methods" and len(path) > 1:
            path = ("methods", method_key(document, path[1]), *path[2:])
        overrides.append(Override(path, value))
    return overrides, mistakes


def apply(document: Table, overrides: Sequence[Override]) -> list[Mistake]:
    """Write overrides into a document, and drop keys that would take precedence.

    Returns:
        One mistake for each override that cannot be written.
    """
    method = method_key(document, _student_method(document, overrides))
    mistakes = []
    overrides = [*overrides, *_belonging(document, overrides)]
    for override in overrides:
        if mistake := _write(document, override):
            mistakes.append(mistake)
        *tables, key = override.path
        if override.path[0] in ADJUSTABLE:
            table_at(document, "methods", method, *tables).pop(key, None)
        elif tables == ["methods", method] and key != "name":
            table_at(document, "method").pop(key, None)
    return mistakes


def _belonging(document: Table, overrides: Sequence[Override]) -> list[Override]:
    """Return the settings that must change with another backend.

    A recipe's `jit = false` is for its own backend. JAX would run each operation by
    itself, and need minutes for what takes seconds.
    """
    given = {override.path: override.value for override in overrides}
    backend, jit = ("runtime", "backend"), ("runtime", "jit")
    runtime = document.get("runtime", {})
    if given.get(backend) != "jax" or jit in given or not isinstance(runtime, dict):
        return []
    eager = runtime.get("jit") is False and runtime.get("backend") != "jax"
    return [Override(jit, "auto")] if eager else []


def implied(document: Table, texts: Iterable[str]) -> list[str]:
    """Return the arguments of `--set` that others imply, in the same form.

    Args:
        document: the recipe.
        texts: arguments of `--set`.

    Example:
        >>> document = {"runtime": {"backend": "tensorflow", "jit": False}}
        >>> implied(document, ["runtime.backend=jax"])
        ['runtime.jit="auto"']
    """
    overrides, _ = parse(texts, document)
    return [f'{each.key}="{each.value}"' for each in _belonging(document, overrides)]


def shrink(document: Table) -> None:
    """Shrink a recipe to about a minute of work, for `--smoke`."""
    document.setdefault("evaluation", {})
    table_at(document, "evaluation").pop("suite", None)  # takes hours
    _cap(table_at(document, "data"), "limit", SMOKE_TRAIN_IMAGES)
    _cap(table_at(document, "data"), "batch_size", SMOKE_BATCH_SIZE)
    _cap(table_at(document, "evaluation"), "limit", SMOKE_TEST_IMAGES)
    table_at(document, "schedule").update(SMOKE_SCHEDULE)
    adjusting = [("methods", name) for name in table_at(document, "methods")]
    for path in [*adjusting, *((teacher, "method") for teacher in TEACHERS)]:
        schedule = table_at(document, *path, "schedule")
        for key in SMOKE_SCHEDULE:
            schedule.pop(key, None)


def _parsed(text: str) -> tuple[tuple[str, ...], Any]:
    """Read `table.key=value`.

    Raises:
        ValueError: the text has another form.
    """
    key, equals, value = text.partition("=")
    # Inside an inline table the text before `=` can only be a key, not more TOML.
    keys: Any = toml(f"table = {{ {key} = {{}} }}")["table"]
    path = []
    while keys:
        [(part, keys)] = keys.items()
        path.append(part)
    if not equals or not path:
        raise ValueError(text)
    try:
        return tuple(path), toml(f"value = {value}")["value"]
    except ValueError:
        return tuple(path), value.strip()


def _student_method(document: Table, overrides: Sequence[Override]) -> object:
    name = table_at(document, "method").get("name")
    for path, value in overrides:
        if path == ("method", "name"):
            name = value
        elif path == ("method",) and isinstance(value, dict):
            name = value.get("name")
    return name


def _write(document: Table, override: Override) -> Mistake | None:
    *parents, key = override.path
    table: Any = document
    for depth, parent in enumerate(parents, start=1):
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            where = key_text(override.path[:depth])
            message = f"expected a table, because {override.key} is set in it"
            return Mistake(where, message, table, place="--set")
    table[key] = override.value
    return None


def _cap(table: Table, key: str, most: int) -> None:
    value = table.setdefault(key, most)
    if isinstance(value, int):
        table[key] = min(value, most)
