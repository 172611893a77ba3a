"""What can be done with a run, on every screen that shows one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from textual import work
from textual.message import Message

from kmtard.runs import Run, signals
from kmtard.runs.notes import (
    Notes,
    changed_tags,
    read_notes,
    write_notes,
    wrong_note,
    wrong_tags,
)
from kmtard.runs.queue.task import Task
from kmtard.runs.results import record_paths
from launcher.poller import Poller
from launcher.runs import trash
from launcher.runs.run_rules import (
    OFFERED,
    check_evaluable,
    check_resumable,
    wrong_name,
)
from launcher.screens.ask import AskScreen
from launcher.screens.base import LauncherScreen
from launcher.screens.confirm import ConfirmScreen

State = tuple[Path | None, str, bool]
"""Folder of a run, its state (empty where it cannot be read), and whether the run has
an evaluation."""

STOP = "It finishes its batch, saves a checkpoint and exits."
KILL = "It ends at once. Resumed, it continues from its last checkpoint."


class RunActions(LauncherScreen[None]):
    """A screen that shows a run; its BINDINGS include those of the table `run`."""

    @dataclass
    class Moved(Message):
        """A run has another folder, None in the trash."""

        old: Path
        new: Path | None

    class Noted(Message):
        """The note or the tags of a run have changed."""

    asked_to_stop: ClassVar[set[tuple[object, ...]]] = set()
    """Processes that were asked to stop: folder, pid and start time of each."""

    _watched: Run | None = None
    _known: State = (None, "", False)

    def selected_run(self) -> Run | None:
        """Return the run that the actions are for."""
        raise NotImplementedError

    def on_mount(self) -> None:
        """Watch the state of the selected run."""
        self._states = Poller(self, self._state_reader, self._take_state)

    def read_state(self) -> None:
        """Read the state at once if another run is selected."""
        run = self.selected_run()
        if run is not None and run.path != self._known[0]:
            self._states.now()

    def _state_reader(self) -> Callable[[], State]:
        run = self._own_run()
        if self._watched is None or run is None or self._watched.path != run.path:
            self._watched = run
        return partial(_read_state, self._watched)

    def _take_state(self, found: State) -> None:
        if found != self._known:
            self._known = found
            self.refresh_bindings()

    def unavailable(self, action: str) -> str:
        """Return why the run's state forbids an action; empty if it is unknown."""
        if action not in OFFERED:
            return super().unavailable(action)
        run, (path, state, is_evaluated) = self.selected_run(), self._known
        if run is None:
            return "no run is selected"
        if action == "robustness_run" and path == run.path and not is_evaluated:
            return "the run has no evaluation yet"
        states = OFFERED[action]
        is_allowed = states is None or not state or state in states
        return "" if is_allowed or path != run.path else f"the run is {state}"

    def _own_run(self) -> Run | None:
        # The `Run` that is shown belongs to the thread that reads it.
        run = self.selected_run()
        return run and Run(run.path)

    @work
    async def action_stop_run(self) -> None:
        """Ask the run to finish its batch, save and exit; if it was asked, kill it."""
        if (run := self._own_run()) is None:
            return
        with self.reported():
            await asyncio.to_thread(signals.find, run)
            info = await asyncio.to_thread(run.info)
            process = (run.path, info.get("pid"), info.get("process_start"))
            verb, details, send, done = "Stop", STOP, signals.stop, "is stopping"
            if process in self.asked_to_stop:
                verb, details, send, done = "Kill", KILL, signals.kill, "was killed"
            question = ConfirmScreen(f"{verb} {run.name}?", verb, details)
            if await self.app.push_screen_wait(question):
                await asyncio.to_thread(send, run)
                self.asked_to_stop.add(process)
                self.tell(f"{run.name} {done}.")

    @work
    async def action_resume_run(self) -> None:
        """Queue the command that resumes the run."""
        if run := self._own_run():
            with self.reported():
                await asyncio.to_thread(check_resumable, run)
                await self._enqueue(Task.resume(run.path), f"resume {run.name}", run)

    @work
    async def action_evaluate_run(self) -> None:
        """Ask for attacks, and queue an evaluation of the run's student."""
        from launcher.screens.evaluate import EvaluateScreen

        if (run := self._own_run()) is None:
            return
        with self.reported():
            await asyncio.to_thread(check_evaluable, run)
            choice = await self.app.push_screen_wait(EvaluateScreen(run.path))
            if choice is not None:
                task = Task.evaluate(
                    run.path, attacks=choice.attacks, suite=choice.suite
                )
                await self._enqueue(task, f"evaluate {run.name}", run)

    async def _enqueue(self, task: Task, title: str, run: Run) -> None:
        queue = self.app.queue
        # What the user allowed on the command line that began it.
        granted = await asyncio.to_thread(queue.granted, run.path)
        if granted is not None:
            task = task.with_grants_of(granted)
        backend = str((await asyncio.to_thread(run.info)).get("backend", ""))
        await asyncio.to_thread(queue.add, task, title, backend, run=run.path)
        await asyncio.to_thread(queue.ensure_runner)
        self.tell(f"In the queue: {title}")

    def action_report_run(self) -> None:
        """Show the run's tables."""
        from launcher.screens.report import ReportScreen

        if run := self._own_run():
            self.app.push_screen(ReportScreen(run))

    def action_robustness_run(self) -> None:
        """Show the run's student under attack."""
        from launcher.screens.robustness import RobustnessScreen

        if run := self._own_run():
            self.app.push_screen(RobustnessScreen(run))

    @work
    async def action_delete_run(self) -> None:
        """Move the run to the trash, after a question."""
        if (run := self._own_run()) is None:
            return
        folder = run.path.parent / trash.FOLDER
        question = ConfirmScreen(
            f"Delete {run.name}?", "Delete", f"It moves to {folder}; u restores it."
        )
        with self.reported():
            await asyncio.to_thread(trash.check_idle, run)
            if await self.app.push_screen_wait(question):
                place = await asyncio.to_thread(trash.delete, run)
                self.post_message(self.Moved(run.path, None))
                self.tell(f"{run.name} is in {place}; u restores it.")

    @work
    async def action_restore_run(self) -> None:
        """Restore the run that was deleted last."""
        with self.reported():
            if found := await asyncio.to_thread(trash.trashed, self.app.runs_dir):
                run = await asyncio.to_thread(trash.restore, found[0])
                self.tell(f"{run.name} is restored.")
            else:
                self.tell("The trash is empty.")

    @work
    async def action_tag_run(self) -> None:
        """Ask for the tags of the run."""
        if run := self._own_run():
            with self.reported():
                await self._tag([run], run.name)

    async def _tag(self, runs: Sequence[Run], named: str) -> None:
        """Change the tags that runs have in common."""
        known = [(await asyncio.to_thread(read_notes, run)).tags for run in runs]
        shared = set(known[0]).intersection(*known[1:])
        question = AskScreen(
            f"Tags of {named}, separated by spaces",
            " ".join(sorted(shared)),
            lambda text: wrong_tags(text.split()),
        )
        text = await self.app.push_screen_wait(question)
        if text is None:
            return
        wanted = set(text.split())
        for run in runs:
            await asyncio.to_thread(changed_tags, run, shared - wanted, wanted - shared)
        self.post_message(self.Noted())

    @work
    async def action_note_run(self) -> None:
        """Ask for a note about the run."""
        if (run := self._own_run()) is None:
            return
        with self.reported():
            known = await asyncio.to_thread(read_notes, run)
            question = AskScreen(f"Note about {run.name}", known.text, wrong_note)
            text = await self.app.push_screen_wait(question)
            if text is not None:
                notes = Notes(text.strip(), known.tags)
                await asyncio.to_thread(write_notes, run, notes)
                self.post_message(self.Noted())

    @work
    async def action_rename_run(self) -> None:
        """Ask for a new name of the run."""
        if (run := self._own_run()) is None:
            return
        question = AskScreen(
            f"New name of {run.name}", run.name, partial(wrong_name, run)
        )
        with self.reported():
            await asyncio.to_thread(trash.check_idle, run)
            if name := await self.app.push_screen_wait(question):
                renamed = await asyncio.to_thread(trash.rename, run, name)
                self.post_message(self.Moved(run.path, renamed.path))
                self.tell(f"{run.name} is now {renamed.name}.")


def _read_state(run: Run | None) -> State:
    if run is None:
        return None, "", False
    try:
        return run.path, run.state(), bool(record_paths(run.path))
    except (OSError, OverflowError):
        return run.path, "", False
