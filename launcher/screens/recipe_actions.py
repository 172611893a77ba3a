"""What can be done with a recipe: launch, dry run, save, copy."""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from textual import on, work
from textual.message import Message

from kmtard.recipe import foreign_reason
from kmtard.registry import label
from kmtard.runs.files import RunError
from kmtard.runs.folder import safe_name
from kmtard.runs.queue.task import Task
from kmtard.runs.studies import StudyFolder
from kmtard.runs.visible import visible
from launcher.closing import while_open
from launcher.commands import command_text, dry_run_command
from launcher.recipes.draft import Checked, Draft, check
from launcher.recipes.dry_run import DryRun
from launcher.recipes.recipe_files import RecipeFile
from launcher.recipes.saving import SaveError, save
from launcher.recipes.sweep import Sweep
from launcher.screens.ask import AskScreen
from launcher.screens.confirm import ConfirmScreen
from launcher.screens.dry_run import DryRunScreen
from launcher.screens.study_starter import StudyStarter


class RecipeActions(StudyStarter):
    """A screen with a chosen recipe, and the actions on it."""

    @dataclass
    class Launched(Message):
        """A launch has succeeded or failed."""

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

    def chosen(self) -> tuple[RecipeFile, Draft] | None:
        """Return the chosen recipe and the user's changes, or None."""
        raise NotImplementedError

    async def refuse(self, checked: Checked) -> None:
        """Show the mistakes because of which nothing was done."""
        raise NotImplementedError

    def saved(self, path: Path) -> None:
        """Show a recipe that was just saved."""
        raise NotImplementedError

    def _chosen(self) -> tuple[RecipeFile, Draft] | None:
        """Return the chosen recipe, or say that there is none."""
        if (chosen := self.chosen()) is None:
            self.tell("No recipe is chosen yet.")
        return chosen

    def action_copy(self) -> None:
        """Copy the command line to the clipboard."""
        if (chosen := self._chosen()) is not None:
            self._copy(*chosen)

    @work(thread=True, exclusive=True, group="copy")
    def _copy(self, file: RecipeFile, draft: Draft) -> None:
        task = launch_task(check(file, draft, self.app.runs_dir))
        # A file's name may have bytes that no clipboard takes.
        text = os.fsencode(command_text(task.command())).decode(errors="replace")
        self.app.call_from_thread(self.app.copy_to_clipboard, text)
        self.notify("Copied the command line.", markup=False)

    def action_launch(self) -> None:
        """Put a run into the queue, unless the recipe has mistakes."""
        chosen = self._chosen()
        if chosen is not None and not self._is_launching:
            self._is_launching = True
            self._launch(*chosen)

    @work(thread=True, group="launch")
    def _launch(self, file: RecipeFile, draft: Draft) -> None:
        # The command would refuse such a recipe: no task has --trust.
        foreign = foreign_reason(file.path)
        checked = check(file, draft, self.app.runs_dir, foreign=foreign)
        problem = ""
        if checked.recipe is not None:
            queue = self.app.queue
            try:
                backend = checked.recipe.runtime.backend
                queue.add(launch_task(checked), heading(checked), backend)
                queue.ensure_runner()
            except (OSError, RunError, RuntimeError) as error:
                problem = str(error)
        self.post_message(self.Launched(checked, problem))

    @on(Launched)
    @while_open
    async def _show_launched(self, event: Launched) -> None:
        self._is_launching = False
        if event.checked.recipe is None:
            await self.refuse(event.checked)
        elif event.problem:
            self.app.report(visible(event.problem))
        else:
            keys = [
                self.app.get_key_display(active.binding)
                for active in self.active_bindings.values()
                if active.binding.id == "app.queue"
            ]
            text = f"{heading(event.checked)} is in the queue: {' or '.join(keys)}."
            self.notify(visible(text), title="Launched", markup=False)

    @work(exclusive=True, group="study")
    async def action_study(self) -> None:
        """Ask for methods and seeds, and start a study of the recipe."""
        from launcher.screens.sweep import SweepScreen

        chosen = self._chosen()
        if chosen is None:
            return
        file, draft = chosen
        checked = await asyncio.to_thread(check, file, draft, self.app.runs_dir)
        if checked.recipe is None:
            await self.refuse(checked)
            return
        sweep = Sweep.of(checked, checked.recipe, str(as_typed(file.path)))
        screen = SweepScreen(file.path.stem, sweep, file.methods)
        wanted = await self.app.push_screen_wait(screen)
        if wanted is None:
            return
        folder = StudyFolder.beside(self.app.runs_dir, wanted.name)
        with self.reported():
            await self.start_study(wanted.task, folder, Path.cwd())

    def action_dry_run(self) -> None:
        """Show the dry run of the recipe, or start one."""
        chosen = self._chosen()
        if chosen is None:
            return
        running = self._dry_runs.get(chosen[0].path)
        if running is not None and running.exit_code is None:
            self._show_dry_run(chosen[0].path)
        else:
            self._try(*chosen)

    @work(thread=True, exclusive=True, group="dry run")
    def _try(self, file: RecipeFile, draft: Draft) -> None:
        self.post_message(self.Tried(check(file, draft, self.app.runs_dir)))

    @on(Tried)
    @while_open
    async def _start_dry_run(self, event: Tried) -> None:
        checked = event.checked
        if checked.recipe is None:
            await self.refuse(checked)
            return
        path = checked.file.path
        argv = dry_run_command(launch_task(checked))
        old = self._dry_runs.get(path)
        # One that succeeded with the same settings would say the same again.
        if old is None or old.argv != tuple(argv) or old.exit_code:
            try:
                self._dry_runs[path] = DryRun(
                    argv,
                    backend=checked.recipe.runtime.backend,
                    columns=max(self.size.width - 4, 40),
                )
            except OSError as error:
                self.app.report(f"Cannot start the dry run: {error.strerror}.")
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
        """End the dry runs, which nobody can read any more."""
        for dry_run in self._dry_runs.values():
            dry_run.close()

    @work(exclusive=True, group="save")
    async def action_save(self) -> None:
        """Save the recipe with its changes to a file of the user's choice."""
        chosen = self._chosen()
        if chosen is None:
            return
        file, draft = chosen
        # A method of the user's own is named by a path.
        ending = safe_name(draft.method or "mine")
        text = f"{file.path.stem}-{ending}.toml"
        question = f"Save {as_typed(file.path)} and its changes as"
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
            self.app.report(visible(problem))


def launch_task(checked: Checked) -> Task:
    """Return the task that trains a draft."""
    return Task.fit(
        as_typed(checked.file.path),
        method=checked.draft.method,
        overrides=(*checked.overrides, *checked.runs_override),
        smoke=checked.draft.smoke,
    )


def command_lines(argv: Sequence[str]) -> str:
    """Return a command for a shell, one option per line."""
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
    """Return a path relative to the working folder if it is inside."""
    try:
        short = path.relative_to(Path.cwd())
    except ValueError:
        return path
    return path if str(short).startswith("-") else short


def wrong_target(text: str) -> str | None:
    """Return why a recipe cannot be saved under a name, or None."""
    if not text.endswith(".toml"):
        return "Expected a name that ends in .toml."
    path = os.path.abspath(os.path.expanduser(text))
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        return f"There is no folder {folder}."
    return f"{path} is a folder." if os.path.isdir(path) else None


def _save(file: RecipeFile, draft: Draft, target: Path) -> str:
    # The folder of the runs and a smoke run are not settings of the recipe.
    checked = check(file, Draft(draft.method, edits=draft.edits), Path("runs"))
    if checked.mistakes:
        return "\n".join(map(str, checked.mistakes))
    try:
        save(file.path, target, method=draft.method, overrides=checked.overrides)
    except SaveError as error:
        return str(error)
    return ""
