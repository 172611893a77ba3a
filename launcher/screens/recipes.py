"""The recipes: to read, change in a form, try and launch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.timer import Timer
from textual.widgets import OptionList, Static

from launcher.bindings import bindings
from launcher.closing import while_open
from launcher.poller import Poller
from launcher.recipes.draft import Checked, Draft, check
from launcher.recipes.recipe_files import RecipeFile, Shelf
from launcher.screens.confirm import ConfirmScreen
from launcher.screens.recipe_actions import (
    RecipeActions,
    command_lines,
    launch_task,
)
from launcher.widgets.field_row import FieldRow
from launcher.widgets.key_bar import KeyBar
from launcher.widgets.recipe_choices import RecipeChoices
from launcher.widgets.recipe_list import RecipeList
from launcher.widgets.recipe_views import RecipeViews

PAUSE = 2.0  # seconds between two readings of the folders
CHECK_AFTER = 0.15  # seconds after the last change
NARROWEST, SHORTEST = 60, 16
NOTHING = """\
There are no recipes here. A recipe is a TOML file with [data], [student] and [method],
in the working folder, in its folder "recipes", or at --recipe PATH."""


class RecipesScreen(RecipeActions):
    """Recipes on the left, the chosen one on the right."""

    PAGE = "recipes"
    CSS_PATH = "recipes.tcss"
    BINDINGS: ClassVar[list[BindingType]] = bindings("recipes")

    @dataclass
    class WasChecked(Message):
        """A draft was checked."""

        checked: Checked

    def __init__(self) -> None:
        super().__init__()
        self._shelf = Shelf(self.app.recipes, Path.cwd())
        self._files: dict[Path, RecipeFile] | None = None
        self._path: Path | None = None
        self._drafts: dict[Path, Draft] = {}
        self._checked: Checked | None = None
        self._rewrite = True
        self._pause: Timer | None = None

    def compose(self) -> ComposeResult:
        """Show the frame only: the folders have not been read yet."""
        yield Static(_header(None), id="header")
        yield Static(NOTHING, id="empty")
        with Horizontal(id="body"):
            yield RecipeList(id="recipes")
            with Vertical(id="chosen"):
                yield RecipeChoices()
                yield RecipeViews()
        yield KeyBar()

    def on_mount(self) -> None:
        """Let the arrow keys move at once, and start reading the folders."""
        self.query_one(RecipeList).focus()
        self._poller = Poller(
            self, lambda: self._shelf.scan, self._show_files, pause=PAUSE
        )

    def on_resize(self, event: events.Resize) -> None:
        """Show only the list and the command where there is no room for more."""
        compact = event.size.width < NARROWEST or event.size.height < SHORTEST
        if compact != self.has_class("-compact"):
            self.set_class(compact, "-compact")
            self._views.go_to("command" if compact else "preview")

    def chosen(self) -> tuple[RecipeFile, Draft] | None:
        """Return the chosen recipe and the user's changes, or None."""
        file = self._listed.get(self._path) if self._path else None
        return (file, self._draft) if file else None

    @property
    def _listed(self) -> dict[Path, RecipeFile]:
        return self._files or {}

    @property
    def _draft(self) -> Draft:
        return self._drafts.get(self._path, Draft()) if self._path else Draft()

    @property
    def _views(self) -> RecipeViews:
        return self.query_one(RecipeViews)

    def _show_files(self, found: list[RecipeFile]) -> None:
        files = {file.path: file for file in found}
        self.set_class(not files, "-nothing")
        if self._files is None or list(files.items()) != list(self._files.items()):
            self._files = files
            self.query_one("#header", Static).update(_header(found))
            self._list_files()

    def _list_files(self) -> None:
        edited = {path for path, draft in self._drafts.items() if draft != Draft()}
        files = list(self._listed.values())
        self.query_one(RecipeList).show(files, self._path, edited)

    @on(OptionList.OptionHighlighted, "#recipes")
    def _choose(self, event: OptionList.OptionHighlighted) -> None:
        path = Path(event.option_id or "")
        file = self._listed.get(path)
        if file is None or (self._checked is not None and file is self._checked.file):
            return
        if path != self._path:
            self._path, self._checked, self._rewrite = path, None, True
            self._views.form.disabled = True
        self._views.show_file(file)
        self.query_one(RecipeChoices).show(file, self._draft)
        self._check_now()

    @on(OptionList.OptionSelected, "#recipes")
    def _open(self) -> None:
        if not self.has_class("-compact"):
            self._views.go_to("form")
            # The form can take the focus once it is visible.
            self.call_after_refresh(self._views.form.enter)

    @on(RecipeChoices.MethodChosen)
    def _choose_method(self, event: RecipeChoices.MethodChosen) -> None:
        if (chosen := self.chosen()) is not None:
            method = None if event.method == chosen[0].method else event.method
            self._set_draft(replace(chosen[1], method=method))

    @on(RecipeChoices.SmokeChosen)
    def _choose_smoke(self, event: RecipeChoices.SmokeChosen) -> None:
        self._set_draft(replace(self._draft, smoke=event.smoke))

    @on(FieldRow.Edited)
    def _edit(self, event: FieldRow.Edited) -> None:
        self._set_draft(self._draft.edited(event.row.field, event.text))

    @on(FieldRow.ResetWanted)
    def _reset(self, event: FieldRow.ResetWanted) -> None:
        field = event.row.field
        event.row.set_text(field.value)
        self._set_draft(self._draft.edited(field, field.value))

    def _set_draft(self, draft: Draft) -> None:
        if self._path is None or draft == self._draft:
            return
        was_edited = self._draft != Draft()
        self._drafts[self._path] = draft
        if was_edited != (draft != Draft()):
            self._list_files()
        self.query_one(RecipeChoices).show_verdict(None)
        if self._pause is not None:
            self._pause.stop()
        self._pause = self.set_timer(CHECK_AFTER, self._check_now)

    @while_open
    def _check_now(self) -> None:
        if (chosen := self.chosen()) is not None:
            self._check(*chosen)

    @work(thread=True, exclusive=True, group="check")
    def _check(self, file: RecipeFile, draft: Draft) -> None:
        self.post_message(self.WasChecked(check(file, draft, self.app.runs_dir)))

    @on(WasChecked)
    @while_open
    async def _show_checked(self, event: WasChecked) -> None:
        checked = event.checked
        if self.chosen() == (checked.file, checked.draft):
            await self._show(checked)

    async def _show(self, checked: Checked) -> None:
        self._checked = checked
        self.query_one(RecipeChoices).show_verdict(len(checked.mistakes))
        rewrite, self._rewrite = self._rewrite, False
        line = command_lines(launch_task(checked).command())
        await self._views.show(checked, line, rewrite=rewrite)

    async def refuse(self, checked: Checked) -> None:
        """Show the mistakes because of which nothing was done."""
        await self._show(checked)
        count = len(checked.mistakes)
        text = "1 mistake" if count == 1 else f"{count} mistakes"
        self.notify(f"Not started: {text}.", severity="error", markup=False)
        if not self.has_class("-compact"):
            self._views.go_to("form")
            await self._views.form.action_next_mistake()

    def saved(self, path: Path) -> None:
        """Show a recipe that was just saved."""
        self._shelf.given.append(path)
        if path == self._path:  # the file has the changes now
            self._drafts.pop(path, None)
        self._path, self._checked, self._rewrite = path, None, True
        self._poller.now()

    def action_next_view(self) -> None:
        """Go from preview to form to command."""
        if not self.has_class("-compact"):
            self._views.go_on()

    def action_smoke(self) -> None:
        """Choose a smoke run, or a whole one."""
        self.query_one(RecipeChoices).toggle_smoke()

    def action_to_list(self) -> None:
        """Go back to the list; the changes stay."""
        self.query_one(RecipeList).focus()

    @work(exclusive=True, group="reset")
    async def action_reset_all(self) -> None:
        """Undo all changes to the recipe, after a question if there are several."""
        path, count = self._path, len(self._draft.edits)
        question = f"Undo {count} changes?"
        if count > 1 and not await self.app.push_screen_wait(ConfirmScreen(question)):
            return
        if path is not None and count and path == self._path:
            self._rewrite = True
            self._set_draft(replace(self._draft, edits={}))


def _header(files: list[RecipeFile] | None) -> Content:
    if files is None:
        return Content.assemble(("Recipes", "bold"), ("  reading ...", "dim"))
    wrong = sum(bool(file.mistakes) for file in files)
    return Content.assemble(
        ("Recipes", "bold"),
        (f"  {len(files)} found", "dim"),
        (f", {wrong} wrong" if wrong else "", "$text-error"),
    )
