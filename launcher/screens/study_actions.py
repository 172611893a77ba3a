"""What can be done with a study in the list of runs: stop, resume, report."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

from textual import work
from textual.worker import Worker

from kmtard.runs.outline import Line
from kmtard.runs.study_views import StudyView
from launcher.commands import command_text
from launcher.runs.run_rules import OFFERED
from launcher.runs.study_control import running_cells, stop_study, unavailable_for
from launcher.screens.confirm import ConfirmScreen
from launcher.screens.run_actions import RunActions
from launcher.screens.study_starter import StudyStarter

STOP = (
    "What waits leaves the queue. What runs finishes its batch, saves a checkpoint and "
    "exits. Resume continues from there."
)
KILL = "Its runs end at once. Resumed, each continues from its last checkpoint."
FOREIGN = (
    "The record of this study is not from you on this computer. Resuming it runs this "
    "command in {}:\n{}"
)
SETTING = "several runs are selected: choose one of them"


class StudyActions(RunActions, StudyStarter):
    """Runs and studies: the actions of a run, and their meaning for a study."""

    cells_asked_to_stop: ClassVar[set[str]] = set()
    """What was asked to stop: entries of the queue, and folders of runs."""

    _offered: tuple[str, ...] = ()

    def refresh_when_moved(self) -> None:
        """Show the keys anew where another line allows other actions."""
        offered = tuple(filter(self.unavailable, OFFERED))
        if offered != self._offered:
            self._offered = offered
            self.refresh_bindings()

    def selected_line(self) -> Line | None:
        """Return the line that the actions are for."""
        raise NotImplementedError

    def selected_study(self) -> StudyView | None:
        """Return the study, if one is selected."""
        line = self.selected_line()
        return line.study if line else None

    def unavailable(self, action: str) -> str:
        """Return why an action is forbidden by the state of a run or a study."""
        line = self.selected_line()
        if action in OFFERED and line is not None:
            if line.study is not None:
                return unavailable_for(line.study, action)
            if line.row is None and line.cell is not None:
                return f"{line.name} has no run yet"
            if line.row is None:
                return SETTING
        return super().unavailable(action)

    def action_stop_run(self) -> Worker[None]:
        """Stop the run, or what waits and runs of the study."""
        if (study := self.selected_study()) is not None:
            return self._stop_study(study)
        return super().action_stop_run()

    @work
    async def _stop_study(self, study: StudyView) -> None:
        verb, details, running = "Stop", STOP, running_cells(study)
        if running and running <= self.cells_asked_to_stop:
            verb, details = "Kill", KILL
        question = ConfirmScreen(f"{verb} {study.name}?", verb, details)
        if not await self.app.push_screen_wait(question):
            return
        # It may have changed while the question was asked.
        current = await self.current_study(study)
        with self.reported():
            problems = await asyncio.to_thread(
                stop_study, current, self.app.queue, kill=verb == "Kill"
            )
            self.cells_asked_to_stop.update(running_cells(current))
            for problem in problems:
                self.app.report(problem)
            if not problems:
                done = "was killed" if verb == "Kill" else "is stopping"
                self.tell(f"{study.name} {done}.")

    async def current_study(self, study: StudyView) -> StudyView:
        """Read a study again."""
        return study

    def action_resume_run(self) -> Worker[None]:
        """Resume the run, or what is left of the study."""
        if (study := self.selected_study()) is not None:
            return self._resume_study(study)
        return super().action_resume_run()

    @work
    async def _resume_study(self, study: StudyView) -> None:
        folder = study.folder
        with self.reported():
            record = await asyncio.to_thread(folder.read)
            if record.task is None:
                self.tell(
                    f"The record of {study.name} has no command. Call kmtard study "
                    "again as before."
                )
                return
            task, cwd = record.task, Path(record.cwd or ".")
            if not await asyncio.to_thread(folder.is_own, record):
                # What somebody else's record allows is not allowed by the user.
                task = task.without_grants()
                text = FOREIGN.format(cwd, command_text(task.command()))
                question = ConfirmScreen(f"Resume {study.name}?", "Resume", text)
                if not await self.app.push_screen_wait(question):
                    return
            await self.start_study(task, folder, cwd)

    def action_report_run(self) -> None:
        """Show the tables of the run, or the table of the study."""
        from launcher.screens.study_report import StudyReportScreen

        if (study := self.selected_study()) is not None:
            self.app.push_screen(StudyReportScreen(study.folder))
        else:
            super().action_report_run()
