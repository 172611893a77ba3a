"""The keys of a recipe as fields: their types, values and text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import tomlkit
from pydantic import BaseModel

from kmtard import registry
from kmtard.recipe import Table, key_text, parse, schema
from kmtard.registry.ranges import limits, words
from kmtard.registry.signatures import Option

Kind = Literal["flag", "choice", "integer", "number", "text", "list", "value"]

TYPES: dict[Kind, str] = {
    "flag": "on or off",
    "choice": "one of the list",
    "integer": "whole number",
    "number": 'number, or a fraction such as "8/255"',
    "text": "text",
    "list": "values with commas between",
}
OF_PYTHON: dict[Any, Kind] = {
    bool: "flag",
    int: "integer",
    float: "number",
    str: "text",
}
NAMES = {
    get_args(name)[1]: tuple(names)
    for name, names in (
        (schema.DataSetName, registry.DATASETS),
        (schema.NetworkName, registry.NETWORKS),
        (schema.MethodName, registry.METHODS),
        (schema.AttackName, registry.ATTACKS),
    )
}


@dataclass(frozen=True)
class Field:
    """One key of a recipe.

    Attributes:
        path: the tables and the key, such as `optimizer`, `learning_rate`.
        kind: of its editor.
        value: the value in the file, as the user would write it; may be empty.
        blank: the value that holds if none is written.
        help: what it means.
        allowed: its type and range in words.
        choices: the values to choose from.
        owner: the method or network that has this option.
    """

    path: tuple[str, ...]
    kind: Kind
    value: str = ""
    blank: str = ""
    help: str = ""
    allowed: str = ""
    choices: tuple[str, ...] = ()
    owner: str = ""

    @property
    def key(self) -> str:
        """The dotted key."""
        return key_text(self.path)

    @property
    def identity(self) -> tuple[str, str]:
        """Owner and key: two methods may have options of the same name."""
        return self.owner, self.key

    def argument(self, text: str) -> str:
        """Return `table.key=value` for what the user wrote."""
        if self.kind == "text":
            text = written(text)
        elif self.kind == "list" and not text.lstrip().startswith("["):
            parts = (part.strip() for part in text.split(","))
            text = f"[{', '.join(map(_item, filter(None, parts)))}]"
        return f"{self.key}={text.strip()}"


def written(value: Any) -> str:
    """Return a value in TOML; text that is unambiguous has no quotes."""
    if isinstance(value, str) and value == value.strip() != "":
        if "\n" not in value and not _toml(value):
            return value
    array = tomlkit.array()
    array.append(value)  # in an array, a table is written on one line
    return array.as_string()[1:-1]


def fields_of_model(
    path: tuple[str, ...], model: type[BaseModel], values: Table
) -> Iterator[Field]:
    """Yield the keys of a section, but not its tables.

    Args:
        path: the keys that lead to the section.
        model: its schema.
        values: what the file has in it.
    """
    for name, info in model.model_fields.items():
        default = None if info.is_required() else info.default
        if len(_kinds(info.annotation)) > 1:
            yield Field(
                (*path, name),
                "value",
                value=_shown("value", values.get(name)),
                blank=_shown("value", default),
                help=info.description or "",
                allowed=words(info.annotation),
            )
            continue
        annotation, metadata = _bare(info.annotation, info.metadata)
        if annotation == schema.Options or _is_model(annotation):
            continue
        kind, choices = _kind(annotation, metadata)
        yield Field(
            (*path, name),
            kind,
            value=_shown(kind, values.get(name)),
            blank=_shown(kind, default),
            help=info.description or "",
            allowed=", ".join([TYPES[kind], *limits(metadata)]),
            choices=choices,
        )


def fields_of_options(
    path: tuple[str, ...], names: str, name: str, values: Table
) -> Iterator[Field]:
    """Yield the options of a method or network; none for an unknown name.

    Args:
        path: the keys that lead to the table with the options.
        names: `methods` or `networks`.
        name: a name of that table, or `package.module:Object`.
        values: what the file has in it.
    """
    options, meanings = _options(names, name)
    for option in options.values():
        kind, choices, allowed = _option_kind(option)
        yield Field(
            (*path, option.name),
            kind,
            value=_shown(kind, values.get(option.name)),
            blank=_shown(kind, option.default) if option.literal else "",
            help=_first_sentence(meanings.get(option.name, "")) or f"Option of {name}.",
            allowed=allowed,
            choices=choices,
            owner=name,
        )


def _bare(annotation: Any, metadata: list[Any]) -> tuple[Any, list[Any]]:
    """Remove `Annotated` and `| None` from an annotation, and return its metadata."""
    if get_origin(annotation) is Annotated:
        inner, *extra = get_args(annotation)
        for each in extra:
            metadata = metadata + getattr(each, "metadata", [each])
        return _bare(inner, metadata)
    if get_origin(annotation) in (Union, UnionType):
        [inner] = [each for each in get_args(annotation) if each is not NoneType]
        return _bare(inner, metadata)
    return annotation, metadata


def _kind(annotation: Any, metadata: list[Any]) -> tuple[Kind, tuple[str, ...]]:
    if get_origin(annotation) is Literal:
        return "choice", tuple(map(written, get_args(annotation)))
    if get_origin(annotation) is tuple:
        _, choices = _kind(*_bare(get_args(annotation)[0], []))
        return "list", choices
    for each in metadata:
        if each in NAMES:
            return "choice", NAMES[each]
    return OF_PYTHON[annotation], ()


def _option_kind(option: Option) -> tuple[Kind, tuple[str, ...], str]:
    """Return how an option is edited, its choices, and what is allowed in words."""
    parts = [part for part in _members(option.hint) if part is not NoneType]
    if option.hint is Any:
        return "value", (), option.annotation or "any value in TOML"
    if len(parts) > 1:
        return "value", (), words(Union[tuple(parts)])  # noqa: UP007
    annotation, metadata = _bare(parts[0], [])
    kind, choices = _kind(annotation, metadata)
    if kind == "list":
        return kind, choices, words(parts[0])
    return kind, choices, ", ".join([TYPES[kind], *limits(metadata)])


def _kinds(hint: Any) -> list[Any]:
    return [each for each in _members(hint) if each is not NoneType]


def _members(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _shown(kind: Kind, value: Any) -> str:
    """Return a value as the user would write it into the field."""
    if value is None:
        return ""
    if kind == "text" and isinstance(value, str):
        return value
    if kind == "list" and isinstance(value, list | tuple):
        items = [written(item) for item in value]
        if not any("," in item for item in items):
            return ", ".join(items)
    return written(list(value) if isinstance(value, tuple) else value)


def _item(text: str) -> str:
    return text if _toml(text) else written([text])[1:-1]


def _toml(text: str) -> bool:
    try:
        return list(parse(f"value = {text}")) == ["value"]
    except ValueError:
        return False


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _first_sentence(text: str) -> str:
    return text.partition(". ")[0].removesuffix(".") + "." * bool(text)


def _options(names: str, name: str) -> tuple[dict[str, Option], dict[str, str]]:
    try:
        return registry.options(names, name), registry.meanings(names, name)
    except registry.RegistryError:
        return {}, {}  # said where the name is checked
