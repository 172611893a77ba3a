"""One field of a recipe's form: name, editor and mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.markup import escape
from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.suggester import SuggestFromList
from textual.widget import Widget
from textual.widgets import Input, Select, Static, Switch

from kmtard.recipe import Mistake
from kmtard.runs.visible import visible
from launcher.bindings import bindings
from launcher.recipes.fields import Field
from launcher.widgets.choice import Choice
from launcher.widgets.on_off import OnOff

CHANGED = "●"
RESET = "↺"


class FieldSelect(Choice, inherit_bindings=False):
    """A dropdown in a form, where the arrow keys go to the other fields."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("form", "choose")


class FieldInput(Input):
    """A line of text, which may have escape sequences from a file."""

    @property
    def _value(self) -> Text:
        # What Textual displays: one harmless character for each of the value's.
        return Text(visible(self.value), no_wrap=True, overflow="ignore", end="")


class Reset(Static):
    """A button that undoes a change."""

    ALLOW_SELECT = False

    def on_click(self, event: events.Click) -> None:
        """Ask to reset the field."""
        event.stop()
        self.post_message(FieldRow.ResetWanted(self.query_ancestor(FieldRow)))


class FieldRow(Vertical):
    """An editor for a field.

    Args:
        field: the field.
        label: its name within the section.
        text: what the user wrote, or the value in the file.
    """

    @dataclass
    class Edited(Message):
        """The user changed the text."""

        row: FieldRow
        text: str

    @dataclass
    class ResetWanted(Message):
        """The user undoes the change."""

        row: FieldRow

    def __init__(self, field: Field, label: str, text: str) -> None:
        super().__init__()
        self.field = field
        self.text = text
        self._label = label
        self._mistakes: tuple[str, ...] = ()
        self.editor = _editor(field, text)

    def compose(self) -> ComposeResult:
        """Show sign, name, editor and the button to reset."""
        with Horizontal(classes="line"):
            yield Static(classes="name")
            yield self.editor
            yield Reset(RESET, classes="reset")
        yield Static(classes="mistakes")

    def on_mount(self) -> None:
        """Show whether the text differs from the file."""
        self._show_change()

    def set_text(self, text: str) -> None:
        """Set the text, as if the user had written it."""
        if text == self.text:
            return
        self.text = text
        editor = self.editor
        # The editor's message comes later and changes nothing any more.
        if isinstance(editor, Switch):
            editor.value = _is_on(self.field, text)
        elif isinstance(editor, Select):
            editor.value = text or Select.NULL
        elif isinstance(editor, Input):
            editor.value = text
        self._show_change()

    def set_mistakes(self, mistakes: Sequence[Mistake]) -> None:
        """Show what is wrong with the value."""
        lines = tuple(_line(mistake, self.field) for mistake in mistakes)
        if lines != self._mistakes:
            self._mistakes = lines
            self.set_class(bool(lines), "-wrong")
            self.query_one(".mistakes", Static).update(Content("\n".join(lines)))

    @property
    def has_mistakes(self) -> bool:
        """Whether something is wrong with the value."""
        return bool(self._mistakes)

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self._edit(event.value)

    @on(Select.Changed)
    def _chosen(self, event: Select.Changed) -> None:
        event.stop()
        self._edit("" if event.value is Select.NULL else str(event.value))

    @on(Switch.Changed)
    def _switched(self, event: Switch.Changed) -> None:
        event.stop()
        text = "true" if event.value else "false"
        same = event.value == _is_on(self.field, self.field.value)
        self._edit(self.field.value if same else text)

    def _edit(self, text: str) -> None:
        if text != self.text:
            self.text = text
            self._show_change()
            self.post_message(self.Edited(self, text))

    def _show_change(self) -> None:
        changed = self.text != self.field.value
        self.set_class(changed, "-changed")
        sign = CHANGED if changed else " "
        self.query_one(".name", Static).update(Content(f"{sign} {self._label}"))


def _editor(field: Field, text: str) -> Widget:
    if field.kind == "flag":
        return OnOff(_is_on(field, text))
    if field.kind == "choice":
        # An unknown name in the file is offered, too.
        names = dict.fromkeys(filter(None, [*field.choices, field.value, text]))
        return FieldSelect(
            [(Content(visible(name)), name) for name in names],
            value=text or Select.NULL,
            allow_blank=not field.value or not text,
            prompt=escape(visible(field.blank)) or "-",
        )
    return FieldInput(
        text,
        placeholder=visible(field.blank),
        suggester=SuggestFromList(field.choices) if field.choices else None,
        compact=True,
        select_on_focus=False,
    )


def _is_on(field: Field, text: str) -> bool:
    return (text or field.blank) == "true"


def _line(mistake: Mistake, field: Field) -> str:
    text = mistake.message
    if mistake.key != field.key:
        text = f"{mistake.key}: {text}"
    if mistake.nearest:
        text += f"; did you mean {mistake.nearest}?"
    elif mistake.allowed:
        text += f"; allowed: {', '.join(mistake.allowed)}"
    return visible(text)
