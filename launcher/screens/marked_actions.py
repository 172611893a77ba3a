"""What can be done with all marked runs at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from textual import work
from textual.worker import Worker

from kmtard.runs import Run, RunError, signals
from kmtard.runs.formats import counted
from kmtard.runs.queue.task import Task
from launcher.runs import trash
from launcher.runs.run_rules import OFFERED, check_evaluable, check_resumable
from launcher.screens.confirm import ConfirmScreen
from launcher.screens.run_actions import KILL, STOP
from launcher.screens.study_actions import StudyActions

TOGETHER = ("stop_run", "resume_run", "evaluate_run", "delete_run", "tag_run")
"""Actions that are for all marked runs; the others are for the selected line."""

MOST_NAMES = 4
MOST_PROBLEMS = 4


class MarkedActions(StudyActions):
    """The actions of a run and of a study, and those on all runs that are marked."""

    def marked_runs(self) -> Sequence[Run]:
        """Return the marked runs in their order; none without marks."""
        raise NotImplementedError

    def unavailable(self, action: str) -> str:
        """Return why an action is forbidden; marked runs allow what one may."""
        if action in OFFERED and action in TOGETHER and self.marked_runs():
            return ""
        return super().unavailable(action)

    def action_stop_run(self) -> Worker[None]:
        """Stop the marked runs, or the selected run or study."""
        if runs := self.marked_runs():
            return self._stop_all(runs)
        return super().action_stop_run()

    @work
    async def _stop_all(self, runs: Sequence[Run]) -> None:
        processes = {run.path: await asyncio.to_thread(_process, run) for run in runs}
        known = [each for each in processes.values() if each is not None]
        is_kill = bool(known) and set(known) <= self.asked_to_stop
        verb, details = ("Kill", KILL) if is_kill else ("Stop", STOP)

        async def stop(run: Run) -> None:
            await asyncio.to_thread(signals.find, run)
            await asyncio.to_thread(signals.kill if is_kill else signals.stop, run)
            if (process := processes[run.path]) is not None:
                self.asked_to_stop.add(process)

        done = "killed" if is_kill else "stopping"
        await self._all(verb, runs, details, stop, done)

    def action_resume_run(self) -> Worker[None]:
        """Resume the marked runs, or the selected run or study."""
        if runs := self.marked_runs():
            return self._resume_all(runs)
        return super().action_resume_run()

    @work
    async def _resume_all(self, runs: Sequence[Run]) -> None:
        async def resume(run: Run) -> None:
            await asyncio.to_thread(check_resumable, run)
            await self._enqueue(Task.resume(run.path), f"resume {run.name}", run)

        details = "They go into the queue in this order."
        await self._all("Resume", runs, details, resume, "in the queue")

    def action_evaluate_run(self) -> Worker[None]:
        """Evaluate the marked runs with the same attacks, or the selected run."""
        if runs := self.marked_runs():
            return self._evaluate_all(runs)
        return super().action_evaluate_run()

    @work
    async def _evaluate_all(self, runs: Sequence[Run]) -> None:
        from launcher.screens.evaluate import EvaluateScreen

        named = counted(len(runs), "marked run")
        dialog = EvaluateScreen(runs[0].path, named=named)
        choice = await self.app.push_screen_wait(dialog)
        if choice is None:
            return

        async def evaluate(run: Run) -> None:
            await asyncio.to_thread(check_evaluable, run)
            task = Task.evaluate(run.path, attacks=choice.attacks, suite=choice.suite)
            await self._enqueue(task, f"evaluate {run.name}", run)

        details = "They go into the queue in this order, with these attacks."
        await self._all("Evaluate", runs, details, evaluate, "in the queue")

    def action_delete_run(self) -> Worker[None]:
        """Move the marked runs to the trash, or the selected one."""
        if runs := self.marked_runs():
            return self._delete_all(runs)
        return super().action_delete_run()

    @work
    async def _delete_all(self, runs: Sequence[Run]) -> None:
        folder = runs[0].path.parent / trash.FOLDER

        async def delete(run: Run) -> None:
            await asyncio.to_thread(trash.delete, run)
            self.post_message(self.Moved(run.path, None))

        details = f"They move to {folder}; u restores the last one."
        await self._all("Delete", runs, details, delete, "in the trash")

    def action_tag_run(self) -> Worker[None]:
        """Change the tags that the marked runs share, or those of the selected run."""
        if runs := self.marked_runs():
            return self._tag_all(runs)
        return super().action_tag_run()

    @work
    async def _tag_all(self, runs: Sequence[Run]) -> None:
        with self.reported():
            await self._tag(runs, counted(len(runs), "marked run"))

    async def _all(
        self,
        verb: str,
        runs: Sequence[Run],
        details: str,
        act: Callable[[Run], Awaitable[None]],
        done: str,
    ) -> None:
        """Ask once, do it for each run, and say which ones it was not done for."""
        names = ", ".join(run.name for run in runs[:MOST_NAMES])
        more = f" and {len(runs) - MOST_NAMES} more" if len(runs) > MOST_NAMES else ""
        question = ConfirmScreen(
            f"{verb} {counted(len(runs), 'marked run')}?",
            verb,
            f"{names}{more}. {details}",
        )
        if not await self.app.push_screen_wait(question):
            return
        problems = []
        for run in runs:
            try:
                await act(run)
            except RunError as error:
                problems.append(str(error))
            except (OSError, OverflowError) as error:
                reason = getattr(error, "strerror", None) or error
                problems.append(f"{run.name}: {reason}.")
        if done_count := len(runs) - len(problems):
            self.tell(f"{counted(done_count, 'run')} {done}.")
        for problem in problems[:MOST_PROBLEMS]:
            self.app.report(problem)
        if len(problems) > MOST_PROBLEMS:
            self.app.report(f"{len(problems) - MOST_PROBLEMS} more runs were left out.")


def _process(run: Run) -> tuple[object, ...] | None:
    """Return what a process is known by in `asked_to_stop`; None if it has ended."""
    try:
        if run.state() != "running":
            return None
        info = run.info()
    except (OSError, OverflowError):
        return None
    return run.path, info.get("pid"), info.get("process_start")
