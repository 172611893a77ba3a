"""The form of a recipe: sections to open, and one field per key with help."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from kmtard.runs.visible import visible
from launcher.bindings import bindings
from launcher.closing import while_open
from launcher.recipes.draft import Checked
from launcher.recipes.form import Section
from launcher.widgets.field_row import FieldRow
from launcher.widgets.form_section import FormSection, SectionTitle

OPEN_AT_FIRST = ("method",)


class Sections(VerticalScroll, can_focus=False, inherit_bindings=False):
    """Scrolls with the focus; the arrow keys go from field to field."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(
        "form", "up", "down", "page_up", "page_down"
    )


class RecipeForm(Vertical):
    """All fields of a recipe; `FieldRow.Edited` reports each change."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("form", "reset", "mistake")

    def __init__(self) -> None:
        super().__init__()
        self._wrong: list[str] = []

    def compose(self) -> ComposeResult:
        """Show the frame; `show` fills it."""
        yield Sections(id="sections")
        yield Static(id="field-help")

    async def show(self, checked: Checked, *, rewrite: bool) -> None:
        """Show a recipe with the user's changes and its mistakes.

        Args:
            checked: the recipe.
            rewrite: whether its texts replace those in the editors, as for another
                recipe. Otherwise what the user types meanwhile is newer.
        """
        self._wrong = list(checked.by_field)
        old = {section.table: section for section in self.query(FormSection)}
        names = [section.name for section in checked.sections]
        scroll = self.query_one("#sections")
        await scroll.remove_children(
            [section for name, section in old.items() if name not in names]
        )
        for place, section in enumerate(checked.sections):
            widget = old.get(section.name)
            if widget is None:
                is_open = section.name in OPEN_AT_FIRST
                widget = FormSection(section.name, is_open=is_open)
                after = place < len(scroll.children)
                await scroll.mount(widget, before=place if after else None)
            await widget.show(section, checked, rewrite)

    def action_reset(self) -> None:
        """Reset the field with the focus."""
        if (row := self._focused_row()) is not None:
            self.post_message(FieldRow.ResetWanted(row))

    @while_open
    async def action_next_mistake(self) -> None:
        """Go to the next field with a mistake."""
        keys = [key for key in self._wrong if key]
        row = self._focused_row()
        if row is not None and row.field.key in keys:
            place = keys.index(row.field.key) + 1
            keys = keys[place:] + keys[:place]
        if keys:
            await self._go_to(keys[0])

    async def _go_to(self, key: str) -> None:
        for section in self.query(FormSection):
            if section.has(key):
                await section.open(True)
        for row in self.query(FieldRow):
            if row.field.key == key:
                # The form can take the focus once it is visible.
                self.call_after_refresh(row.editor.focus)

    @while_open
    def enter(self) -> None:
        """Focus the first section."""
        for title in self.query(SectionTitle).results():
            title.focus()
            return

    def _focused_row(self) -> FieldRow | None:
        focused = self.screen.focused
        return next(
            (row for row in self.query(FieldRow) if row.editor is focused), None
        )

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Explain the field or the section."""
        row, help_text = self._focused_row(), Content()
        if row is not None:
            help_text = _about(row)
        elif isinstance(title := self.screen.focused, SectionTitle) and title.fields:
            help_text = _about_section(title.fields)
        self.query_one("#field-help", Static).update(help_text)


def _about_section(section: Section) -> Content:
    depth = len(section.name.split("."))
    keys = ", ".join(".".join(field.path[depth:]) for field in section.fields)
    return Content.assemble(
        (visible(section.name), "bold"),
        f"  {visible(section.about)}\n",
        (f"sets {visible(keys)}" if keys else "has no keys", "dim"),
    )


def _about(row: FieldRow) -> Content:
    field = row.field
    parts = [field.allowed]
    if field.choices and field.kind == "list":
        parts.append(f"of {', '.join(field.choices)}")
    if field.blank:
        parts.append(f"if left out: {field.blank}")
    if field.value:
        parts.append(f"in the file: {field.value}")
    return Content.assemble(
        (visible(field.key), "bold"),
        f"  {visible(field.help)}\n",
        (visible(" · ".join(parts)), "dim"),
    )
