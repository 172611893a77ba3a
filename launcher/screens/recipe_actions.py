"""What can be done with a recipe and its draft: launch, try, save, copy."""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from textual import on, work
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen

from kmtard.recipe import foreign_reason
from kmtard.registry import label
from kmtard.runs.files import RunError
from kmtard.runs.queue.task import Task
from kmtard.runs.visible import visible
from launcher.commands import command_text, dry_run_command
from launcher.recipes.draft import Checked, Draft, check
from launcher.recipes.dry_run import DryRun
from launcher.recipes.recipe_files import RecipeFile
from launcher.recipes.saving import SaveError, save
from launcher.screens.ask import AskScreen
from launcher.screens.confirm import ConfirmScreen
from launcher.screens.dry_run import DryRunScreen

if TYPE_CHECKING:
    from launcher.app import LauncherApp


class RecipeActions(Screen[None]):
    """Actions on the recipe that a screen has chosen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "f9,l", "launch", "Launch", id="recipes.launch", tooltip="Into the queue"
        ),
        Binding(
            "f6,d",
            "dry_run",
            "Dry run",
            id="recipes.dry_run",
            tooltip="Estimate memory and time; shows the one that goes on",
        ),
        Binding(
            "ctrl+s",
            "save",
            "Save as",
            id="recipes.save",
            tooltip="The file with the changes, comments kept",
        ),
        Binding(
            "f8,y",
            "copy",
            "Copy",
            id="recipes.copy",
            tooltip="The command line, to the clipboard",
        ),
    ]

    @dataclass
    class Launched(Message):
        """A launch came to an end, well or not."""

        checked: Checked
        problem: str

    @dataclass
    class Tried(Message):
        """A recipe was checked for a dry run."""

        checked: Checked

    def __init__(self) -> None:
        super().__init__()
        self._dry_runs: dict[Path, DryRun] = {}
        self._is_launching = False

    @property
    def launcher(self) -> LauncherApp:
        """The app, by its own type."""
        return cast("LauncherApp", self.app)

    def chosen(self) -> tuple[RecipeFile, Draft] | None:
        """Return the chosen recipe and what differs from it, if one is chosen."""
        raise NotImplementedError

    async def refuse(self, checked: Checked) -> None:
        """Show the mistakes for which nothing was done."""
        raise NotImplementedError

    def saved(self, path: Path) -> None:
        """Show a recipe that was just written."""
        raise NotImplementedError

    def action_copy(self) -> None:
        """Put the command line into the clipboard."""
        if (chosen := self.chosen()) is not None:
            self._copy(*chosen)

    @work(thread=True, exclusive=True, group="copy")
    def _copy(self, file: RecipeFile, draft: Draft) -> None:
        task = launch_task(check(file, draft, self.launcher.runs_dir))
        # A file's name may have bytes that no clipboard takes.
        text = os.fsencode(command_text(task.command())).decode(errors="replace")
        self.app.call_from_thread(self.app.copy_to_clipboard, text)
        self.notify("Copied the command line.", markup=False)

    def action_launch(self) -> None:
        """Put a run into the queue, unless something is wrong."""
        chosen = self.chosen()
        if chosen is not None and not self._is_launching:
            self._is_launching = True
            self._launch(*chosen)

    @work(thread=True, group="launch")
    def _launch(self, file: RecipeFile, draft: Draft) -> None:
        # Its process would refuse it: no task carries --trust.
        foreign = foreign_reason(file.path)
        checked = check(file, draft, self.launcher.runs_dir, foreign=foreign)
        problem = ""
        if checked.recipe is not None:
            queue = self.launcher.queue
            try:
                backend = checked.recipe.runtime.backend
                queue.add(launch_task(checked), heading(checked), backend)
                queue.ensure_runner()
            except (OSError, RunError, RuntimeError) as error:
                problem = str(error)
        self.post_message(self.Launched(checked, problem))

    @on(Launched)
    async def _tell(self, event: Launched) -> None:
        self._is_launching = False
        if event.checked.recipe is None:
            await self.refuse(event.checked)
        elif event.problem:
            self.launcher.report(visible(event.problem))
        else:
            keys = [
                self.app.get_key_display(active.binding)
                for active in self.active_bindings.values()
                if active.binding.id == "app.queue"
            ]
            text = f"{heading(event.checked)} is in the queue: {' or '.join(keys)}."
            self.notify(visible(text), title="Launched", markup=False)

    def action_dry_run(self) -> None:
        """Show the recipe's dry run; start one if none goes on."""
        chosen = self.chosen()
        if chosen is None:
            return
        running = self._dry_runs.get(chosen[0].path)
        if running is not None and running.exit_code is None:
            self._show_dry_run(chosen[0].path)
        else:
            self._try(*chosen)

    @work(thread=True, exclusive=True, group="dry run")
    def _try(self, file: RecipeFile, draft: Draft) -> None:
        self.post_message(self.Tried(check(file, draft, self.launcher.runs_dir)))

    @on(Tried)
    async def _start_dry_run(self, event: Tried) -> None:
        checked = event.checked
        if checked.recipe is None:
            await self.refuse(checked)
            return
        path = checked.file.path
        argv = dry_run_command(launch_task(checked))
        old = self._dry_runs.get(path)
        # What ended well with the same settings would say the same again.
        if old is None or old.argv != tuple(argv) or old.exit_code:
            try:
                self._dry_runs[path] = DryRun(
                    argv,
                    backend=checked.recipe.runtime.backend,
                    columns=max(self.size.width - 4, 40),
                )
            except OSError as error:
                self.launcher.report(f"Cannot start the dry run: {error.strerror}.")
                return
        self._show_dry_run(path)

    def _show_dry_run(self, path: Path) -> None:
        dry_run = self._dry_runs[path]

        def again() -> None:
            del self._dry_runs[path]
            self.action_dry_run()

        screen = DryRunScreen(path.stem, dry_run, command_text(dry_run.argv), again)
        self.app.push_screen(screen)

    def on_unmount(self) -> None:
        """End the dry runs: nobody is left to read them."""
        for dry_run in self._dry_runs.values():
            dry_run.close()

    @work(exclusive=True, group="save")
    async def action_save(self) -> None:
        """Write the recipe with its changes into a file of the user's choice."""
        chosen = self.chosen()
        if chosen is None:
            return
        file, draft = chosen
        text = f"{file.path.stem}-{draft.method or 'mine'}.toml"
        question = f"Save {as_typed(file.path)} with its changes as"
        while answer := await self.app.push_screen_wait(
            AskScreen(question, text, wrong_target)
        ):
            text = answer
            target = Path(os.path.abspath(os.path.expanduser(text)))
            overwrite = ConfirmScreen(f"{target} exists. Replace it?", yes="Replace")
            if os.path.lexists(target) and not await self.app.push_screen_wait(
                overwrite
            ):
                continue
            problem = await asyncio.to_thread(_save, file, draft, target)
            if not problem:
                self.notify(visible(f"Saved {target}."), markup=False)
                self.saved(target)
                return
            self.launcher.report(visible(problem))


def launch_task(checked: Checked) -> Task:
    """Return the task that trains what a draft says."""
    return Task.fit(
        as_typed(checked.file.path),
        method=checked.draft.method,
        overrides=(*checked.overrides, *checked.runs_override),
        smoke=checked.draft.smoke,
    )


def command_lines(argv: Sequence[str]) -> str:
    """Return a command as one types it, an option on each line."""
    starts = [i for i, part in enumerate(argv) if part.startswith("--")]
    first, *others = [0, *starts]
    ends = [*starts, len(argv)]
    lines = [command_text(argv[first : ends[0]])]
    lines += [shlex.join(argv[i:j]) for i, j in zip(others, ends[1:], strict=True)]
    return " \\\n  ".join(lines)


def heading(checked: Checked) -> str:
    """Return a draft's name in the queue."""
    smoke = " smoke" if checked.draft.smoke else ""
    return f"{checked.file.path.stem} {label(checked.method)}{smoke}"


def as_typed(path: Path) -> Path:
    """Return a path from the working folder, where it lies below that."""
    try:
        short = path.relative_to(Path.cwd())
    except ValueError:
        return path
    return path if str(short).startswith("-") else short


def wrong_target(text: str) -> str | None:
    """Return why a recipe cannot be saved under a name; None if it can."""
    if not text.endswith(".toml"):
        return "expected a name that ends in .toml"
    path = os.path.abspath(os.path.expanduser(text))
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        return f"there is no folder {folder}"
    return f"{path} is a folder" if os.path.isdir(path) else None


def _save(file: RecipeFile, draft: Draft, target: Path) -> str:
    # Where runs go and whether this one is small are no settings of the recipe.
    checked = check(file, Draft(draft.method, edits=draft.edits), Path("runs"))
    if checked.mistakes:
        return "\n".join(map(str, checked.mistakes))
    try:
        save(file.path, target, method=draft.method, overrides=checked.overrides)
    except SaveError as error:
        return str(error)
    return ""
