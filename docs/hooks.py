"""Generate parts of the pages from the source code.

A page contains a line such as `<!-- generated: recipe keys -->`. When MkDocs reads the
page, the generated text with that name replaces the line. Nothing here imports Keras.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from kmtard import registry
from kmtard.recipe import schema
from kmtard.registry.ranges import words
from kmtard.registry.roles import LABELS, TEACHERS
from kmtard.registry.signatures import Option

MARKER = re.compile(r"^<!-- generated: (.+) -->$", re.MULTILINE)

SECTIONS: dict[str, type[BaseModel]] = {
    "data": schema.Data,
    "student": schema.Student,
    "nat_teacher": schema.Teacher,
    "adv_teacher": schema.Teacher,
    "nat_teacher.method": schema.TeacherMethod,
    "adv_teacher.method": schema.TeacherMethod,
    "method": schema.Method,
    "methods.NAME": schema.Adjustments,
    "attack": schema.Attack,
    "optimizer": schema.Optimizer,
    "schedule": schema.Schedule,
    "evaluation": schema.Evaluation,
    "runtime": schema.Runtime,
    "study": schema.Study,
    "study.slurm": schema.Slurm,
}
BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
WORDS = {
    "array": "list",
    "boolean": "`true` or `false`",
    "integer": "whole number",
    "object": "table",
    "string": "text",
}


def on_page_markdown(markdown: str, **kwargs: Any) -> str:
    """Replace the markers of a page; MkDocs calls this for each page."""
    return MARKER.sub(lambda match: "\n".join(WRITERS[match[1]]()), markdown)


def recipe_keys() -> Iterator[str]:
    """Write one table per section of a recipe."""
    named = {section.partition(".")[0] for section in SECTIONS}
    if missing := schema.Recipe.model_fields.keys() - named:
        raise LookupError(f"Sections without documentation: {sorted(missing)}.")
    done: dict[type[BaseModel], list[str]] = {}
    for section, model in SECTIONS.items():
        done.setdefault(model, []).append(section)
    for model, sections in done.items():
        yield f"\n## {', '.join(f'[{section}]' for section in sections)}\n"
        yield f"{(model.__doc__ or '').splitlines()[0]}\n"
        yield from table(("key", "value", "default", "meaning"), keys_of(model))
        if model.model_config.get("extra") == "allow":
            yield "\nThe options of the method are keys of the same table."


def keys_of(model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    """Yield a row for each key of a section."""
    properties = model.model_json_schema()["properties"]
    for key, info in model.model_fields.items():
        if info.default is PydanticUndefined:
            default = "required"
        elif info.default in (None, {}, ()) or isinstance(info.default, BaseModel):
            default = ""
        else:
            default = f"`{toml(info.default)}`"
        value = value_of(properties[key])
        limits = [*bounds(info.metadata), *bounds([info.annotation])]
        yield f"`{key}`", ", ".join([value, *limits]), default, info.description or ""


def option_tables(names: str) -> Iterator[str]:
    """Write the options of all methods or networks, a table for each that has some."""
    for name in registry.TABLES[names]:
        meanings = registry.meanings(names, name)
        rows = [
            (f"`{key}`", words(option.hint), _default(option), meanings.get(key, ""))
            for key, option in registry.options(names, name).items()
        ]
        if rows:
            yield f"\n### {name}\n"
            cells = ([each.replace("|", "\\|") for each in row] for row in rows)
            yield from table(("key", "value", "default", "meaning"), cells)


def _default(option: Option) -> str:
    if option.required:
        return "required"
    return f"`{toml(option.default)}`" if option.default not in (None, ()) else ""


def value_of(kind: dict[str, Any]) -> str:
    """Return what a part of a JSON schema allows, without the bounds of numbers."""
    every = [
        value_of(each) for each in kind.get("anyOf", []) if each != {"type": "null"}
    ]
    allowed = kind.get("enum", [kind["const"]] if "const" in kind else [])
    if every or allowed:
        return " or ".join(every or [f"`{toml(each)}`" for each in allowed])
    word = kind.get("type", "table" if "$ref" in kind else "any value")
    return WORDS.get(word, word)


def bounds(annotations: Iterable[Any]) -> Iterator[str]:
    """Yield the bounds in annotations. JSON schemas omit those behind a validator."""
    for annotation in annotations:
        for name, sign in BOUNDS.items():
            if (bound := getattr(annotation, name, None)) is not None:
                yield f"{sign} {bound}"
        inner = getattr(annotation, "metadata", ())
        yield from bounds([*inner, *get_args(annotation)])


def toml(value: Any) -> str:
    """Return a default as it is written in a recipe."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    return f'"{value}"' if isinstance(value, str) else f"{value:g}"


def method_table() -> Iterator[str]:
    """Write a row for each method."""
    rows = []
    for name in registry.METHODS:
        needed = registry.positional("methods", name)
        teachers = [LABELS[role] for role in TEACHERS if role in needed]
        rows.append(
            (f"[`{name}`](#{name})", summary("methods", name), ", ".join(teachers))
        )
    return table(("name", "method", "teachers"), rows)


def method_reference() -> Iterator[str]:
    """Write the docstring of each method."""
    for name, target in registry.METHODS.items():
        yield f"\n## {name} {{#{name}}}\n"
        yield f"::: {target.replace(':', '.')}\n"


def names(key: str) -> Iterator[str]:
    """Write a row for each name of a table of the registry."""
    rows = ((f"`{name}`", summary(key, name)) for name in registry.TABLES[key])
    return table(("name", "what it is"), rows)


def summary(key: str, name: str) -> str:
    """Return the first line of the docstring."""
    return registry.summary(key, name).replace("|", "\\|")


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Write a table in Markdown."""
    head = list(head)
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


WRITERS = {
    "recipe keys": recipe_keys,
    "method options": lambda: option_tables("methods"),
    "network options": lambda: option_tables("networks"),
    "method table": method_table,
    "method reference": method_reference,
    "attack table": lambda: names("attacks"),
    "network table": lambda: names("networks"),
    "data set table": lambda: names("datasets"),
}
