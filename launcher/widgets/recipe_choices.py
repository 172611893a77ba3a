"""The line above a recipe: its method, a small run or the whole, all well or not."""

from __future__ import annotations

from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.widgets import Select, Static, Switch

from kmtard.registry import METHODS, label
from kmtard.runs.visible import visible
from launcher.recipes.draft import Draft
from launcher.recipes.recipe_files import RecipeFile


class RecipeChoices(Horizontal):
    """What is chosen for a whole recipe."""

    @dataclass
    class MethodChosen(Message):
        """The user chose a method."""

        method: str

    @dataclass
    class SmokeChosen(Message):
        """The user chose a small run, or the whole."""

        smoke: bool

    def compose(self) -> ComposeResult:
        """Show the frame; `show` fills it."""
        yield Static("Method", classes="label")
        yield Select[str]([], prompt="-", id="methods", compact=True)
        yield Static("Smoke", classes="label")
        yield Switch(animate=False, id="smoke")
        yield Static(id="verdict")

    def show(self, file: RecipeFile, draft: Draft) -> None:
        """Show the choices of a recipe, the methods with a table of its own first."""
        names = dict.fromkeys([*file.methods, file.method, *METHODS])
        select = self.query_one(Select)
        with self.prevent(Select.Changed, Switch.Changed):
            select.set_options(
                [(Content(visible(label(name))), name) for name in names]
            )
            select.value = draft.method or file.method
            self.query_one(Switch).value = draft.smoke

    def judge(self, mistakes: int | None) -> None:
        """Show how many mistakes there are; None: it is being checked."""
        verdict = Content.styled("✓ ready", "$text-success")
        if mistakes:
            verdict = Content.styled(f"✗ {mistakes} wrong", "$text-error")
        self.query_one("#verdict", Static).update("…" if mistakes is None else verdict)

    def toggle_smoke(self) -> None:
        """Change between a small run and the whole."""
        self.query_one(Switch).toggle()

    @on(Select.Changed)
    def _choose_method(self, event: Select.Changed) -> None:
        event.stop()
        if event.value is not Select.NULL:
            self.post_message(self.MethodChosen(str(event.value)))

    @on(Switch.Changed)
    def _choose_smoke(self, event: Switch.Changed) -> None:
        event.stop()
        self.post_message(self.SmokeChosen(event.value))
