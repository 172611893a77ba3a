"""The queue: what waits, what runs, and what has ended."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.widgets import DataTable, Static

from kmtard.runs.queue.entry import Entry
from kmtard.runs.visible import visible
from launcher.bindings import bindings
from launcher.commands import command_text
from launcher.poller import Poller
from launcher.queue_look import (
    Look,
    about,
    confirmation,
    is_stuck,
    read_look,
    runner_text,
)
from launcher.screens.base import LauncherScreen
from launcher.screens.confirm import ConfirmScreen
from launcher.screens.run_actions import KILL, STOP
from launcher.widgets.key_bar import KeyBar
from launcher.widgets.queue_table import SIGNS, QueueTable

ASKED = 5  # entries per question, so that each of them is seen

ENDED = ("finished", "failed", "cancelled", "unknown")
OFFERED = {
    "stop": ("running",),
    "remove": ("waiting", *ENDED),
    "again": ENDED,
    "order": ("waiting",),
}
"""Action -> the states of an entry in which it is offered."""


class QueueScreen(LauncherScreen[None]):
    """The queue of commands, their order, and how they ended."""

    PAGE = "queue"
    CSS_PATH = "queue.tcss"
    BINDINGS: ClassVar[list[BindingType]] = bindings("queue")

    def __init__(self) -> None:
        super().__init__()
        self._shown = Look()
        self._offered: tuple[str, ...] = ()
        self._asked_to_stop = ""

    @property
    def table(self) -> QueueTable:
        """The entries."""
        return self.query_one(QueueTable)

    def compose(self) -> ComposeResult:
        """Show the frame only: the queue has not been read yet."""
        yield Static(id="header")
        yield Static(id="problem")
        yield Static("Reading the queue ...", id="empty")
        yield QueueTable(id="queue")
        with VerticalScroll(id="entry"):
            yield Static(id="command")
            yield Static(id="log")
        yield KeyBar()

    def on_mount(self) -> None:
        """Let the arrow keys move at once, and start reading."""
        self.add_class("-no-entry")
        self.query_one("#problem").display = False
        self.table.focus()
        self._poller = Poller(
            self,
            lambda: partial(read_look, self.app.queue, self.table.selected),
            self.take,
        )

    def take(self, found: Look) -> None:
        """Show what was read."""
        self._shown = found
        self.table.show(found.entries)
        self.set_class(not found.entries, "-no-entry")
        if found.entries and self.focused is None:
            self.table.focus()
        self.query_one("#header", Static).update(self._header(found))
        problem = self.query_one("#problem", Static)
        problem.display = bool(found.problem)
        problem.update(Text(visible(found.problem)))
        empty = self.query_one("#empty", Static)
        empty.update(
            "Nothing is queued. Press 2 to launch a recipe, or 1 to resume a run that "
            "was stopped."
        )
        self._describe()

    def unavailable(self, action: str) -> str:
        """Return why the state of the selected entry forbids an action."""
        if action == "start":
            return "" if is_stuck(self._shown) else "nothing waits to be started"
        if (states := OFFERED.get(action)) is None:
            return super().unavailable(action)
        if (entry := self.table.selected) is None:
            return "no command is selected"
        is_allowed = entry.state in states or (
            action == "remove" and entry.is_elsewhere
        )
        return "" if is_allowed else f"the command is {entry.word}"

    def _header(self, found: Look) -> Text:
        counts = Counter(entry.word for entry in found.entries)
        known = [f"{counts[state]} {state}" for state in SIGNS if counts[state]]
        parts = [f"limit {found.limit}", *known]
        text = Text.assemble(("Queue", "bold"), f"  {runner_text(found)}  ")
        return text.append(" · ".join(parts), "dim")

    @on(DataTable.RowHighlighted)
    def _go_to(self) -> None:
        self._describe()
        self._poller.now()

    def _describe(self) -> None:
        entry = self.table.selected
        offered = tuple(filter(self.unavailable, ("start", *OFFERED)))
        if offered != self._offered:
            self._offered = offered
            self.refresh_bindings()
        if entry is None:
            return
        has_log = self._shown.selected == entry.id
        self.query_one("#command", Static).update(about(entry))
        log = self.query_one("#log", Static)
        pane = self.query_one("#entry", VerticalScroll)
        is_at_end = pane.scroll_y >= pane.max_scroll_y
        lines = self._shown.log if has_log else ()
        log.update(Text("\n".join(lines)))
        if is_at_end:
            pane.scroll_end(animate=False)

    @on(DataTable.RowSelected)
    def _open(self) -> None:
        entry = self.table.selected
        if entry and entry.run and Path(entry.run).is_dir():
            self.app.open_run(Path(entry.run))
        elif entry and entry.run:
            self.tell(f"{entry.run} no longer exists.")
        elif entry:
            self.tell("There is no run yet. Its output so far is below.")

    @work
    async def action_order(self, by: int) -> None:
        """Move a waiting entry earlier or later."""
        if entry := self.table.selected:
            await self._change(partial(self.app.queue.move, entry.id, by))

    @work
    async def action_limit(self, by: int) -> None:
        """Change how many run at a time."""
        queue = self.app.queue

        def change() -> None:
            with queue.change() as content:
                content.limit = max(1, content.limit + by)

        await self._change(change)

    @work
    async def action_clear(self) -> None:
        """Remove what has ended, after a question."""
        count = sum(entry.is_ended for entry in self._shown.entries)
        if count and await self._is_sure(
            f"Remove {count} that ended?", "Remove", "Their logs go, their runs stay."
        ):
            await self._change(self.app.queue.clear_finished)

    @work
    async def action_start(self) -> None:
        """Start the queue, after a question about what somebody else queued."""
        queue, entries = self.app.queue, self._shown.unconfirmed
        for first in range(0, len(entries), ASKED):
            asked = entries[first : first + ASKED]
            if not await self._is_confirmed(asked):
                return
            await self._change(partial(queue.confirm, asked))
        await self._change(queue.ensure_runner)

    async def _is_confirmed(self, entries: Sequence[Entry]) -> bool:
        count = "the entry" if len(entries) == 1 else f"{len(entries)} entries"
        return await self._is_sure(
            f"Start {count} of somebody else?", "Start", confirmation(entries)
        )

    @work
    async def action_again(self) -> None:
        """Queue the command of an entry that has ended once more."""
        queue, entry = self.app.queue, self.table.selected
        if entry is None:
            return
        if (task := entry.task) is None:
            self.tell(
                f"{entry.title} has a command that is not one of kmtard's own. "
                "Launch its recipe again, or resume or evaluate its run."
            )
            return
        is_own = await asyncio.to_thread(queue.is_own, entry)
        if not is_own and not await self._is_confirmed([entry]):
            return

        def add() -> None:
            queue.add(task, entry.title, entry.backend, entry.cwd)
            queue.ensure_runner()

        await self._change(add)

    def action_copy(self) -> None:
        """Copy the command line."""
        if entry := self.table.selected:
            text = command_text(entry.command, entry.cwd)
            self.app.copy_to_clipboard(text)
            self.tell("Copied the command line.")

    @work
    async def action_remove(self) -> None:
        """Remove an entry that waits or has ended, after a question."""
        if (entry := self.table.selected) is None:
            return
        details = "Its log goes, its run stays." if entry.run else "It will not run."
        if entry.is_elsewhere:
            details = f"It runs on {entry.host}, and continues if that host is alive."
        if await self._is_sure(f"Remove {entry.title}?", "Remove", details):
            await self._change(partial(self.app.queue.remove, entry.id))

    @work
    async def action_stop(self) -> None:
        """Stop what runs, after a question; if it was asked before, kill it."""
        if (entry := self.table.selected) is None:
            return
        queue, verb, details = self.app.queue, "Stop", STOP
        change = partial(queue.stop, entry.id)
        if entry.stopping or entry.id == self._asked_to_stop:
            verb, details, change = "Kill", KILL, partial(queue.kill, entry.id)
        if await self._is_sure(f"{verb} {entry.title}?", verb, details):
            if await self._change(change):
                self._asked_to_stop = entry.id

    async def _is_sure(self, question: str, yes: str, details: str) -> bool:
        return await self.app.push_screen_wait(ConfirmScreen(question, yes, details))

    async def _change(self, change: Callable[[], object]) -> bool:
        """Change the queue in a thread; return whether it could be done."""
        is_done = False
        with self.reported():
            await asyncio.to_thread(change)
            is_done = True
        self._poller.now()
        return is_done
