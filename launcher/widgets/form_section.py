"""A section of a recipe's form; its fields are built when it is opened."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from kmtard.runs.visible import visible
from launcher.bindings import bindings
from launcher.closing import while_open
from launcher.recipes.draft import Checked
from launcher.recipes.form import Section
from launcher.widgets.field_row import FieldRow


class SectionTitle(Static, can_focus=True):
    """The line that opens and closes a section."""

    ALLOW_SELECT = False
    BINDINGS: ClassVar[list[BindingType]] = bindings("form", "toggle", "open", "close")

    async def on_click(self, event: events.Click) -> None:
        """Open or close the section."""
        event.stop()
        await self.action_turn()

    async def action_turn(self) -> None:
        """Open or close the section."""
        await self._section.open(not self._section.is_open)

    async def action_open(self, is_open: bool) -> None:
        """Open the section, or close it."""
        await self._section.open(is_open)

    @property
    def fields(self) -> Section | None:
        """The fields of the section; None before they are known."""
        return self._section.section

    @property
    def _section(self) -> FormSection:
        return self.query_ancestor(FormSection)


class FormSection(Vertical):
    """The fields of one table.

    Args:
        name: of the table.
        is_open: whether its fields are shown.
    """

    def __init__(self, name: str, *, is_open: bool = False) -> None:
        super().__init__()
        self.table = name
        self.is_open = is_open
        self._section: Section | None = None
        self._checked: Checked | None = None
        # The user may open the section while it is being changed.
        self._changing = asyncio.Lock()

    def compose(self) -> ComposeResult:
        """Show the title; the fields come later."""
        yield SectionTitle()
        yield Vertical(classes="fields")

    async def show(self, section: Section, checked: Checked, rewrite: bool) -> None:
        """Show the fields of the section and their mistakes.

        Args:
            section: the fields.
            checked: the draft and its mistakes.
            rewrite: whether the draft's texts replace those in the editors, which
                are newer while the user types.
        """
        self._section, self._checked = section, checked
        if rewrite:
            texts = checked.draft.edits
            for row in self.query(FieldRow):
                row.set_text(texts.get(row.field.identity, row.field.value))
        await self._refresh()

    async def open(self, is_open: bool) -> None:
        """Show the fields, or hide them."""
        self.is_open = is_open
        await self._refresh()

    @property
    def section(self) -> Section | None:
        """The fields; None before they are known."""
        return self._section

    def has(self, key: str) -> bool:
        """Return whether a key is one of the fields."""
        fields = self._section.fields if self._section else ()
        return any(field.key == key for field in fields)

    @while_open
    async def _refresh(self) -> None:
        async with self._changing:
            if self._section is None or self._checked is None:
                return
            self.set_class(self.is_open, "-open")
            self.query_one(SectionTitle).update(self._title())
            if self.is_open:
                with self.app.batch_update():
                    await self._show_rows(self._section, self._checked)

    def _title(self) -> Content:
        section, checked = self._section, self._checked
        if section is None or checked is None:
            return Content()
        keys = {field.key for field in section.fields}
        changed = sum(field.key in keys for field in checked.changed)
        found = checked.by_field.items()
        wrong = sum(len(mistakes) for key, mistakes in found if key in keys)
        return Content.assemble(
            "▼ " if self.is_open else "▶ ",
            (visible(section.name), "bold"),
            (f"  {wrong} wrong" if wrong else "", "$text-error"),
            (f"  {changed} changed" if changed else "", "$text-warning"),
            (f"  {visible(section.about)}", "dim"),
        )

    async def _show_rows(self, section: Section, checked: Checked) -> None:
        fields = self.query_one(".fields")
        rows = {row.field: row for row in self.query(FieldRow)}
        await fields.remove_children(
            [row for field, row in rows.items() if field not in section.fields]
        )
        depth = len(section.name.split("."))
        texts, mistakes = checked.draft.edits, checked.by_field
        new: list[FieldRow] = []  # mounting them one by one is much slower
        for field in section.fields:
            if (row := rows.get(field)) is None:
                text = texts.get(field.identity, field.value)
                label = visible(".".join(field.path[depth:]))
                new.append(FieldRow(field, label, text))
            elif new:
                await fields.mount(*new, before=row)
                new = []
        if new:
            await fields.mount(*new)
        for row in self.query(FieldRow):
            row.set_mistakes(mistakes.get(row.field.key, ()))
