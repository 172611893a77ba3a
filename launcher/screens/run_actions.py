"""What can be done to a run, wherever it is shown."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from textual import on, work
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen

from kmtard.runs import Run, signals
from kmtard.runs.queue.task import Task
from launcher.runs import trash
from launcher.runs.run_rules import (
    OFFERED,
    check_judgeable,
    check_resumable,
    wrong_name,
)
from launcher.screens.ask import AskScreen
from launcher.screens.confirm import ConfirmScreen
from launcher.screens.reporting import reported

if TYPE_CHECKING:
    from launcher.app import LauncherApp

PAUSE = 1.0  # seconds between two looks at the run's state

RUN_BINDINGS: list[BindingType] = [
    Binding(
        "k",
        "stop_run",
        "Stop",
        id="run.stop",
        tooltip="Finish the batch, save and exit; twice: kill",
    ),
    Binding(
        "r", "resume_run", "Resume", id="run.resume", tooltip="From where it stopped"
    ),
    Binding(
        "e", "evaluate_run", "Evaluate", id="run.evaluate", tooltip="Choose attacks"
    ),
    Binding("R", "report_run", "Report", id="run.report", tooltip="Tables of results"),
    Binding(
        "K",
        "kill_run",
        "Kill",
        id="run.kill",
        show=False,
        tooltip="At once, back to the last checkpoint",
    ),
    Binding(
        "delete,D",
        "delete_run",
        "Delete",
        id="run.delete",
        show=False,
        tooltip="Into the trash",
    ),
    Binding(
        "u",
        "restore_run",
        "Undelete",
        id="run.restore",
        show=False,
        tooltip="Bring back the run that was deleted last",
    ),
    Binding("f6", "rename_run", "Rename", id="run.rename", show=False),
]
"""For the BINDINGS of each screen that has `RunActions`."""


class RunActions(Screen[None]):
    """Mixin of screens that show a run: its actions, offered as its state allows."""

    @dataclass
    class StateRead(Message):
        """The state of the selected run was read."""

        path: Path | None
        state: str

    @dataclass
    class Moved(Message):
        """A run has another folder; None in the trash."""

        old: Path
        new: Path | None

    _watched: Run | None = None
    _is_reading = False
    _known: tuple[Path | None, str] = (None, "")
    _stopped: tuple[object, ...] = ()

    def selected_run(self) -> Run | None:
        """Return the run that the actions are for."""
        raise NotImplementedError

    @property
    def launcher(self) -> LauncherApp:
        """The app, by its own type."""
        return cast("LauncherApp", self.app)

    def on_mount(self) -> None:
        """Keep an eye on the state of the selected run."""
        self.set_interval(PAUSE, self._look_at_run)

    def _look_at_run(self) -> None:
        # A thread cannot be cancelled: one look ends before the next begins.
        if self.is_current and not self._is_reading:
            self._is_reading = True
            run = self._own_run()
            if self._watched is None or run is None or self._watched.path != run.path:
                self._watched = run
            self._read_state(self._watched)

    @work(thread=True, group="run-state")
    def _read_state(self, run: Run | None) -> None:
        state = ""
        with contextlib.suppress(OSError, OverflowError):
            state = run.state() if run else ""
        self.post_message(self.StateRead(run.path if run else None, state))

    @on(StateRead)
    def _take_state(self, message: StateRead) -> None:
        self._is_reading = False
        if (message.path, message.state) != self._known:
            self._known = (message.path, message.state)
            self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer what the run's state allows, and where it is not known, everything."""
        if action in OFFERED:
            run, (path, state) = self.selected_run(), self._known
            if run is None:
                return False
            states = OFFERED[action]
            is_known = bool(state) and path == run.path
            return states is None or not is_known or state in states
        return super().check_action(action, parameters)

    def _own_run(self) -> Run | None:
        # The object that is shown belongs to the threads of who shows it.
        run = self.selected_run()
        return run and Run(run.path)

    def _tell(self, text: str) -> None:
        self.app.notify(text, markup=False)

    @work
    async def action_stop_run(self) -> None:
        """Ask the run to finish its batch, save and exit; the second time, kill it."""
        if (run := self._own_run()) is None:
            return
        with reported(self.app):
            info = await asyncio.to_thread(run.info)
            owner = (run.path, info.get("pid"), info.get("process_start"))
            if (
                owner == self._stopped
                and await asyncio.to_thread(run.state) == "running"
            ):
                await self._kill(run)
                return
            await asyncio.to_thread(signals.stop, run)
            self._stopped = owner
            self._tell(f"{run.name} finishes its batch, saves and exits.")

    @work
    async def action_kill_run(self) -> None:
        """Kill the run, after a question."""
        if run := self._own_run():
            with reported(self.app):
                await self._kill(run)

    async def _kill(self, run: Run) -> None:
        await asyncio.to_thread(signals.find, run)
        question = ConfirmScreen(
            f"Kill {run.name}?",
            "Kill",
            "It ends at once. Resumed, it goes on from its last checkpoint.",
        )
        if await self.app.push_screen_wait(question):
            await asyncio.to_thread(signals.kill, run)
            self._tell(f"{run.name} was killed.")

    @work
    async def action_resume_run(self) -> None:
        """Put into the queue what goes on with the run."""
        if run := self._own_run():
            with reported(self.app):
                await asyncio.to_thread(check_resumable, run)
                await self._enqueue(Task.resume(run.path), f"resume {run.name}", run)

    @work
    async def action_evaluate_run(self) -> None:
        """Choose attacks, and put into the queue what judges the run's student."""
        from launcher.screens.evaluate import EvaluateScreen

        if (run := self._own_run()) is None:
            return
        with reported(self.app):
            await asyncio.to_thread(check_judgeable, run)
            choice = await self.app.push_screen_wait(EvaluateScreen(run.path))
            if choice is not None:
                task = Task.evaluate(
                    run.path, attacks=choice.attacks, suite=choice.suite
                )
                await self._enqueue(task, f"evaluate {run.name}", run)

    async def _enqueue(self, task: Task, title: str, run: Run) -> None:
        queue = self.launcher.queue
        backend = str((await asyncio.to_thread(run.info)).get("backend", ""))
        await asyncio.to_thread(queue.add, task, title, backend, run=run.path)
        await asyncio.to_thread(queue.ensure_runner)
        self._tell(f"In the queue: {title}")

    def action_report_run(self) -> None:
        """Show the run's tables."""
        from launcher.screens.report import ReportScreen

        if run := self._own_run():
            self.app.push_screen(ReportScreen(run))

    @work
    async def action_delete_run(self) -> None:
        """Move the run to the trash, after a question."""
        if (run := self._own_run()) is None:
            return
        folder = run.path.parent / trash.FOLDER
        question = ConfirmScreen(
            f"Delete {run.name}?", "Delete", f"It goes to {folder}; u brings it back."
        )
        with reported(self.app):
            await asyncio.to_thread(trash.check_idle, run)
            if await self.app.push_screen_wait(question):
                place = await asyncio.to_thread(trash.delete, run)
                self.post_message(self.Moved(run.path, None))
                self._tell(f"{run.name} is in {place}; u brings it back.")

    @work
    async def action_restore_run(self) -> None:
        """Bring back the run that was deleted last."""
        with reported(self.app):
            runs_dir = self.launcher.runs_dir
            if found := await asyncio.to_thread(trash.trashed, runs_dir):
                run = await asyncio.to_thread(trash.restore, found[0])
                self._tell(f"{run.name} is back.")
            else:
                self._tell("The trash is empty.")

    @work
    async def action_rename_run(self) -> None:
        """Ask for another name of the run."""
        if (run := self._own_run()) is None:
            return
        question = AskScreen(
            f"New name of {run.name}", run.name, partial(wrong_name, run)
        )
        with reported(self.app):
            await asyncio.to_thread(trash.check_idle, run)
            if name := await self.app.push_screen_wait(question):
                renamed = await asyncio.to_thread(trash.rename, run, name)
                self.post_message(self.Moved(run.path, renamed.path))
                self._tell(f"{run.name} is now {renamed.name}.")
