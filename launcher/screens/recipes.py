"""The recipes: look at them, change them in a form, try them, launch them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.timer import Timer
from textual.widgets import OptionList, Static

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

LOOK_EVERY = 2.0  # seconds between two looks at the folders
CHECK_AFTER = 0.15  # seconds without a change
NARROWEST, SHORTEST = 60, 16
NOTHING = """\
No recipe is here. Recipes are TOML files with [data], [student] and [method]; they are
looked for in the working folder, its folder "recipes", and where --recipe PATH says."""


class RecipesScreen(RecipeActions):
    """Recipes on the left, the chosen one on the right."""

    HELP = """
# Recipes

A recipe says everything about a run: data, networks, method, attack, schedule. Choose
one in the list, look at it, change what you like, and **launch** it: it goes into the
queue, which works with this window closed too.

- **Preview** shows the file and what its header promises.
- **Form** has a field for each key. **●** marks what differs from the file, a mistake
  stands below its field; **ctrl+r** takes a field back, **f4** all of them. What you
  write is kept for each recipe as long as this window is open.
- **Command** shows the exact command line, to be copied.

**Method** trains the student; `[methods.NAME]` in the file has what differs for it.
**Smoke** runs a few images and two epochs, to see whether everything works.
**Save as** writes the changes into a recipe of your own, with the comments kept.
**Dry run** builds the networks and estimates memory and time, in the background.

Recipes are looked for in the working folder, its folder `recipes`, the folder that
comes with the package, and where `--recipe PATH` says.
"""
    CSS_PATH = "recipes.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f5,v", "next_view", "View", id="recipes.view", tooltip="The next one"),
        Binding("f7,s", "smoke", "Smoke", id="recipes.smoke", tooltip="On or off"),
        Binding(
            "f4",
            "reset_all",
            "Reset all",
            id="recipes.reset_all",
            show=False,
            tooltip="Take all changes of the recipe back",
        ),
        Binding("escape", "to_list", "To the list", id="recipes.list", show=False),
    ]

    @dataclass
    class Scanned(Message):
        """The folders were looked at."""

        files: list[RecipeFile]

    @dataclass
    class WasChecked(Message):
        """A draft was checked."""

        checked: Checked

    def __init__(self) -> None:
        super().__init__()
        self._shelf = Shelf(self.launcher.recipes, Path.cwd())
        self._is_scanning = False
        self._files: dict[Path, RecipeFile] = {}
        self._path: Path | None = None
        self._drafts: dict[Path, Draft] = {}
        self._checked: Checked | None = None
        self._rewrite = True
        self._pause: Timer | None = None

    def compose(self) -> ComposeResult:
        """Show the frame: the folders have not been read yet."""
        yield Static(_header([]), id="header")
        yield Static(NOTHING, id="empty")
        with Horizontal(id="body"):
            yield RecipeList(id="recipes")
            with Vertical(id="chosen"):
                yield RecipeChoices()
                yield RecipeViews()
        yield KeyBar()

    def on_mount(self) -> None:
        """Look at the folders, now and every few seconds."""
        self.query_one(RecipeList).focus()
        self.set_interval(LOOK_EVERY, self._look)
        self._look()

    def on_screen_resume(self) -> None:
        """Look again: another program may have written recipes."""
        self._look()

    def on_resize(self, event: events.Resize) -> None:
        """Show the list and the command alone where there is no room for more."""
        compact = event.size.width < NARROWEST or event.size.height < SHORTEST
        if compact != self.has_class("-compact"):
            self.set_class(compact, "-compact")
            self._views.go_to("command" if compact else "preview")

    def chosen(self) -> tuple[RecipeFile, Draft] | None:
        """Return the chosen recipe and what differs from it, if one is chosen."""
        if self._path is None or self._path not in self._files:
            return None
        return self._files[self._path], self._draft

    @property
    def _draft(self) -> Draft:
        return self._drafts.get(self._path, Draft()) if self._path else Draft()

    @property
    def _views(self) -> RecipeViews:
        return self.query_one(RecipeViews)

    def _look(self) -> None:
        # Another screen of the app may be shown for days.
        if not self._is_scanning and self.app.screen is self:
            self._is_scanning = True
            self._scan()

    @work(thread=True, group="scan")
    def _scan(self) -> None:
        self.post_message(self.Scanned(self._shelf.scan()))

    @on(Scanned)
    def _show_files(self, event: Scanned) -> None:
        self._is_scanning = False
        files = {file.path: file for file in event.files}
        self.set_class(not files, "-nothing")
        if files == self._files and list(files) == list(self._files):
            return
        self._files = files
        self.query_one("#header", Static).update(_header(event.files))
        self._list_files()

    def _list_files(self) -> None:
        edited = {path for path, draft in self._drafts.items() if draft != Draft()}
        files = list(self._files.values())
        self.query_one(RecipeList).show(files, self._path, edited)

    @on(OptionList.OptionHighlighted, "#recipes")
    def _choose(self, event: OptionList.OptionHighlighted) -> None:
        path = Path(event.option_id or "")
        file = self._files.get(path)
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
            # The form can take the cursor once it is seen.
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
        self.query_one(RecipeChoices).judge(None)
        if self._pause is not None:
            self._pause.stop()
        self._pause = self.set_timer(CHECK_AFTER, self._check_now)

    def _check_now(self) -> None:
        if (chosen := self.chosen()) is not None:
            self._check(*chosen)

    @work(thread=True, exclusive=True, group="check")
    def _check(self, file: RecipeFile, draft: Draft) -> None:
        self.post_message(self.WasChecked(check(file, draft, self.launcher.runs_dir)))

    @on(WasChecked)
    async def _show_checked(self, event: WasChecked) -> None:
        checked = event.checked
        if self.chosen() == (checked.file, checked.draft):
            await self._show(checked)

    async def _show(self, checked: Checked) -> None:
        self._checked = checked
        self.query_one(RecipeChoices).judge(len(checked.mistakes))
        rewrite, self._rewrite = self._rewrite, False
        line = command_lines(launch_task(checked).command())
        await self._views.show(checked, line, rewrite=rewrite)

    async def refuse(self, checked: Checked) -> None:
        """Show the mistakes for which nothing was done."""
        await self._show(checked)
        count = len(checked.mistakes)
        text = "a mistake" if count == 1 else f"{count} mistakes"
        self.notify(f"Not started: {text}.", severity="error", markup=False)
        if not self.has_class("-compact"):
            self._views.go_to("form")
            await self._views.form.action_next_mistake()

    def saved(self, path: Path) -> None:
        """Show a recipe that was just written."""
        self._shelf.given.append(path)
        if path == self._path:  # the changes are in the file now
            self._drafts.pop(path, None)
        self._path, self._checked, self._rewrite = path, None, True
        self._look()

    def action_next_view(self) -> None:
        """Go from preview to form to command."""
        if not self.has_class("-compact"):
            self._views.go_on()

    def action_smoke(self) -> None:
        """Choose a small run, or the whole one."""
        self.query_one(RecipeChoices).toggle_smoke()

    def action_to_list(self) -> None:
        """Go back to the list; what was written stays."""
        self.query_one(RecipeList).focus()

    @work(exclusive=True, group="reset")
    async def action_reset_all(self) -> None:
        """Take all changes of the recipe back; ask if there are several."""
        path, count = self._path, len(self._draft.edits)
        question = f"Take {count} changes back?"
        if count > 1 and not await self.app.push_screen_wait(ConfirmScreen(question)):
            return
        if path is not None and count and path == self._path:
            self._rewrite = True
            self._set_draft(replace(self._draft, edits={}))


def _header(files: list[RecipeFile]) -> Content:
    wrong = sum(bool(file.mistakes) for file in files)
    return Content.assemble(
        ("Recipes", "bold"),
        (f"  {len(files)} found", "dim"),
        (f", {wrong} wrong" if wrong else "", "$text-error"),
    )
