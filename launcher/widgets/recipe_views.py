"""The views of a recipe: its file, its form and its command line."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static, TabbedContent, TabPane

from kmtard.runs.visible import visible
from launcher.recipes.draft import Checked
from launcher.recipes.recipe_files import RecipeFile
from launcher.widgets.mistakes import Mistakes
from launcher.widgets.recipe_form import RecipeForm
from launcher.widgets.recipe_preview import RecipePreview

VIEWS = ("preview", "form", "command")


class RecipeViews(Vertical):
    """The views of the chosen recipe, below its mistakes."""

    def __init__(self) -> None:
        super().__init__()
        self._checked: Checked | None = None

    def compose(self) -> ComposeResult:
        """Show the frame; `show_file` and `show` fill it."""
        yield Mistakes(can_focus=False)
        with TabbedContent(initial="preview"):
            with TabPane("Preview", id="preview"):
                yield RecipePreview()
            with TabPane("Form", id="form"):
                yield RecipeForm()
            with TabPane("Command", id="command"):
                with VerticalScroll():
                    yield Static(id="line")

    @property
    def form(self) -> RecipeForm:
        """The form."""
        return self.query_one(RecipeForm)

    @property
    def view(self) -> str:
        """Name of the view that is shown."""
        return self.query_one(TabbedContent).active

    def go_to(self, view: str) -> None:
        """Show a view."""
        self.query_one(TabbedContent).active = view

    def go_on(self) -> None:
        """Show the next view."""
        self.go_to(VIEWS[(VIEWS.index(self.view) + 1) % len(VIEWS)])

    def show_file(self, file: RecipeFile) -> None:
        """Show a file; `show` follows when it has been checked."""
        self._checked = None
        self.query_one(RecipePreview).show(file)

    async def show(self, checked: Checked, command: str, *, rewrite: bool) -> None:
        """Show the form, the mistakes and the command line.

        Args:
            checked: the recipe.
            command: its command line.
            rewrite: as in `RecipeForm.show`.
        """
        self._checked = checked
        self._show_mistakes()
        lines = "\n".join(map(visible, command.splitlines()))
        self.query_one("#line", Static).update(Content(lines))
        await self.form.show(checked, rewrite=rewrite)
        self.form.disabled = False

    @on(TabbedContent.TabActivated)
    def _show_mistakes(self) -> None:
        if self._checked is not None:
            mistakes = self._checked.mistakes
            if self.view == "form":  # which shows the others at their fields
                mistakes = tuple(self._checked.by_field.get("", ()))
            self.query_one(Mistakes).show(mistakes)
