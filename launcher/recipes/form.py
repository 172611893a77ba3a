"""The form of a recipe: its sections, which depend on method and networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from kmtard import registry
from kmtard.recipe import ADJUSTABLE, Table, method_key, schema, table_at
from kmtard.registry import canonical
from kmtard.registry.roles import TEACHERS
from launcher.recipes.fields import Field, fields_of_model, fields_of_options, written


class Section(NamedTuple):
    """The fields of one table.

    Attributes:
        name: of the table.
        about: what it is for.
        fields: its keys.
    """

    name: str
    about: str
    fields: tuple[Field, ...]


def sections(
    document: Table, method: str, edits: Mapping[tuple[str, str], str]
) -> tuple[Section, ...]:
    """Return the form of a recipe.

    Args:
        document: the recipe as read from TOML.
        method: the student's method.
        edits: `Field.identity` -> what the user wrote. The options of a network or
            of a teacher's method are those of the name in the edits.
    """
    return tuple(_Form(document, method, edits).sections())


class _Form(NamedTuple):
    document: Table
    method: str
    edits: Mapping[tuple[str, str], str]

    def sections(self) -> Iterator[Section]:
        taken = _taken(self.method)
        yield Section("method", _summary(self.method), self.method_options())
        for name, info in schema.Recipe.model_fields.items():
            if name in TEACHERS:
                if name in taken or name in self.document:
                    yield from self.teacher(name, info.description or "")
            elif name == "student":
                yield Section(name, info.description or "", self.party(name))
            elif name == "data":
                yield Section(name, info.description or "", self.data())
            elif name not in ("method", "methods", "study"):
                yield Section(name, info.description or "", self.plain(name, info))

    def plain(self, name: str, info: FieldInfo) -> tuple[Field, ...]:
        values = dict(table_at(self.document, name))
        if name in ADJUSTABLE:
            values |= table_at(self.common(self.method), name)
        model = info.annotation
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            return ()
        return tuple(fields_of_model((name,), model, values))

    def method_options(self) -> tuple[Field, ...]:
        values = dict(self.common(self.method))
        own = table_at(self.document, "method")
        if canonical("methods", str(own.get("name"))) == self.method:
            values |= own
        return tuple(fields_of_options(("method",), "methods", self.method, values))

    def party(self, role: str) -> tuple[Field, ...]:
        model = schema.Student if role == "student" else schema.Teacher
        return self.with_options(role, model, "networks")

    def data(self) -> tuple[Field, ...]:
        return self.with_options("data", schema.Data, "datasets")

    def with_options(
        self, section: str, model: type[BaseModel], names: str
    ) -> tuple[Field, ...]:
        """Return the keys of a section, with the options of the object it names."""
        values = table_at(self.document, section)
        fields = list(fields_of_model((section,), model, values))
        chosen = self.written_in(fields[0])
        kept = values if chosen == fields[0].value else {}
        path = (section, "options")
        options = fields_of_options(path, names, chosen, table_at(kept, "options"))
        return (fields[0], *options, *fields[1:])

    def teacher(self, role: str, about: str) -> Iterator[Section]:
        party = self.party(role)
        yield Section(role, about, party)
        trained = self.written_in(party[-1]) == "true"
        if trained or "method" in table_at(self.document, role):
            about = "How it is trained."
            yield Section(f"{role}.method", about, tuple(self.training(role)))

    def training(self, role: str) -> Iterator[Field]:
        path = (role, "method")
        values = table_at(self.document, *path)
        [name] = fields_of_model(path, schema.Method, values)
        yield name
        method = self.written_in(name)
        common = self.common(method)
        own = values if method == name.value else {}
        for option in fields_of_options(path, "methods", method, own):
            if option.path[-1] in common:
                blank = f"{written(common[option.path[-1]])}, from [methods.{method}]"
                option = replace(option, blank=blank)
            yield option
        for section, model in ADJUSTABLE.items():
            given = table_at(values, section)
            for each in fields_of_model((*path, section), model, given):
                # Unlike a switch, a choice can be left to the base section.
                flag = each.kind == "flag"
                yield replace(
                    each,
                    kind="choice" if flag else each.kind,
                    choices=("true", "false") if flag else each.choices,
                    blank=f"as in [{section}]",
                )

    def common(self, method: str) -> Table:
        """Return the file's table for a method, whatever it trains."""
        return table_at(self.document, "methods", method_key(self.document, method))

    def written_in(self, field: Field) -> str:
        return self.edits.get(field.identity, field.value)


def _taken(method: str) -> tuple[str, ...]:
    try:
        return registry.positional("methods", method)
    except registry.RegistryError:
        return ()


def _summary(method: str) -> str:
    try:
        return registry.summary("methods", method)
    except registry.RegistryError:
        return ""
