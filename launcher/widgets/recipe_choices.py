"""The line above a recipe: its method, smoke run or not, mistakes or not."""

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
from launcher.widgets.choice import Choice
from launcher.widgets.on_off import OnOff


class RecipeChoices(Horizontal):
    """The choices for the whole recipe."""

    @dataclass
    class MethodChosen(Message):
        """The user chose a method."""

        method: str

    @dataclass
    class SmokeChosen(Message):
        """The user chose a smoke run, or a whole one."""

        smoke: bool

    def compose(self) -> ComposeResult:
        """Show the frame; `show` fills it."""
        yield Static("Method", classes="label")
        names = [(Content(label(name)), name) for name in METHODS]
        yield Choice(names, allow_blank=False, id="methods")
        yield Static("Smoke", classes="label")
        yield OnOff(id="smoke")
        yield Static(id="verdict")

    def show(self, file: RecipeFile, draft: Draft) -> None:
        """Show the choices for a recipe, first the methods that it has a table for."""
        names = dict.fromkeys([*file.methods, file.method, *METHODS])
        select = self.query_one(Choice)
        with self.prevent(Select.Changed, Switch.Changed):
            select.set_options(
                [(Content(visible(label(name))), name) for name in names]
            )
            select.value = draft.method or file.method
            self.query_one(Switch).value = draft.smoke

    def show_verdict(self, mistakes: int | None) -> None:
        """Show the number of mistakes; None while the recipe is checked."""
        verdict = Content.styled("✓ ready", "$text-success")
        if mistakes:
            verdict = Content.styled(f"✗ {mistakes} wrong", "$text-error")
        self.query_one("#verdict", Static).update("…" if mistakes is None else verdict)

    def toggle_smoke(self) -> None:
        """Change between a smoke run and a whole one."""
        self.query_one(Switch).toggle()

    @on(Select.Changed)
    def _choose_method(self, event: Select.Changed) -> None:
        event.stop()
        # An older message may come after another choice.
        if event.value == event.select.value:
            self.post_message(self.MethodChosen(str(event.value)))

    @on(Switch.Changed)
    def _choose_smoke(self, event: Switch.Changed) -> None:
        event.stop()
        self.post_message(self.SmokeChosen(event.value))
