"""What waits, what runs, and what has ended."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import DataTable, Static

from kmtard.runs.visible import visible
from launcher.commands import command_text
from launcher.queue_look import (
    Look,
    about,
    confirmation,
    is_stuck,
    read_look,
    runner_text,
)
from launcher.screens.confirm import ConfirmScreen
from launcher.screens.reporting import reported
from launcher.screens.watching import WatchingScreen
from launcher.widgets.key_bar import KeyBar
from launcher.widgets.queue_table import SIGNS, QueueTable, shown_state

if TYPE_CHECKING:
    from kmtard.runs.queue.entry import Entry
    from launcher.app import LauncherApp

ASKED = 5  # entries in one question: each of them has to be seen


class QueueScreen(WatchingScreen):
    """The queue of commands, their order, and how they went."""

    HELP = """
# Queue

Commands wait here for their turn, first in first out. A runner of its own starts them,
**+** and **-** set how many at a time; it goes on when this window is closed.

- **shift+up** and **shift+down** move what waits.
- **d** takes away what waits or has ended, and stops what runs: it finishes its batch,
  saves and exits. The second time it offers to kill it.
- **Enter** opens the run, **y** copies the command line, **a** queues it again.
- **c** clears what has ended; the runs stay.
- **s** starts the runner. If the queue came with a folder from somebody else, it shows
  what would run and asks first.
"""
    CSS_PATH = "queue.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "d,delete",
            "remove",
            "Remove",
            id="queue.remove",
            tooltip="What runs is stopped; twice: killed",
        ),
        Binding("a", "again", "Again", id="queue.again", tooltip="Queue it once more"),
        Binding("y", "copy", "Copy", id="queue.copy", tooltip="The command line"),
        Binding("c", "clear", "Clear", id="queue.clear", tooltip="What has ended"),
        Binding(
            "plus", "limit(1)", "More", id="queue.more", tooltip="One more at a time"
        ),
        Binding(
            "minus", "limit(-1)", "Less", id="queue.less", tooltip="One less at a time"
        ),
        Binding("shift+up,K", "move(-1)", "Up", id="queue.up", tooltip="Earlier"),
        Binding("shift+down,J", "move(1)", "Down", id="queue.down", tooltip="Later"),
        Binding("s", "start", "Start", id="queue.start", tooltip="The runner"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._shown = Look()
        self._stopped = ""

    @property
    def launcher(self) -> LauncherApp:
        """The app, by its own type."""
        return cast("LauncherApp", self.app)

    @property
    def table(self) -> QueueTable:
        """The entries."""
        return self.query_one(QueueTable)

    def compose(self) -> ComposeResult:
        """Show the frame alone: the queue has not been read yet."""
        yield Static(id="header")
        yield Static(id="problem")
        yield Static("Reading the queue ...", id="empty")
        yield QueueTable(id="queue")
        with VerticalScroll(id="entry"):
            yield Static(id="command")
            yield Static(id="log")
        yield KeyBar()

    def on_mount(self) -> None:
        """Let the arrow keys move at once."""
        self.add_class("-no-entry")
        self.query_one("#problem").display = False
        self.table.focus()

    def look(self) -> Callable[[], Look]:
        """Return what reads the queue, and the log of the selected entry."""
        return partial(read_look, self.launcher.queue, self.table.selected)

    def take(self, found: Look) -> None:
        """Show what was read."""
        if is_stuck(found) != is_stuck(self._shown):
            self.call_after_refresh(self.refresh_bindings)
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
            "Nothing is queued. Press 2 to pick a recipe and launch it, or 1 to go on "
            "with a run that was stopped."
        )
        self._describe()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer to start the runner where there is none."""
        if action == "start":
            return is_stuck(self._shown)
        return super().check_action(action, parameters)

    def _header(self, found: Look) -> Text:
        counts = Counter(shown_state(entry) for entry in found.entries)
        known = [f"{counts[state]} {state}" for state in SIGNS if counts[state]]
        parts = [f"limit {found.limit}", *known]
        text = Text.assemble(("Queue", "bold"), f"  {runner_text(found)}  ")
        return text.append(" · ".join(parts), "dim")

    @on(DataTable.RowHighlighted)
    def _go_to(self) -> None:
        self._describe()
        self._look()

    def _describe(self) -> None:
        entry = self.table.selected
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
            self.launcher.open_run(Path(entry.run))
        elif entry and entry.run:
            self._tell(f"{entry.run} is not there any more.")
        elif entry:
            self._tell("There is no run yet; what was written so far is below.")

    def _tell(self, text: str) -> None:
        self.app.notify(text, markup=False)

    @work
    async def action_move(self, by: int) -> None:
        """Move what waits earlier or later."""
        if entry := self.table.selected:
            await self._change(partial(self.launcher.queue.move, entry.id, by))

    @work
    async def action_limit(self, by: int) -> None:
        """Let more or fewer run at a time."""
        queue = self.launcher.queue

        def change() -> None:
            with queue.change() as content:
                content.limit = max(1, content.limit + by)

        await self._change(change)

    @work
    async def action_clear(self) -> None:
        """Take away what has ended."""
        await self._change(self.launcher.queue.clear_finished)

    @work
    async def action_start(self) -> None:
        """Start the runner, after a question where others wrote what waits."""
        queue, entries = self.launcher.queue, self._shown.unconfirmed
        for first in range(0, len(entries), ASKED):
            asked = entries[first : first + ASKED]
            if not await self._is_confirmed(asked):
                return
            await self._change(partial(queue.confirm, asked))
        await self._change(queue.ensure_runner)

    async def _is_confirmed(self, entries: Sequence[Entry]) -> bool:
        count = "entry" if len(entries) == 1 else f"{len(entries)} entries"
        return await self._is_sure(
            f"Start the {count} of another writer?", "Start", confirmation(entries)
        )

    @work
    async def action_again(self) -> None:
        """Queue the command of what has ended once more."""
        queue, entry = self.launcher.queue, self.table.selected
        if entry is None:
            return
        if not entry.is_ended:
            self._tell(f"{entry.title} is in the queue already.")
            return

        if (task := entry.task) is None:
            self._tell(
                f"{entry.title} holds a command that is not one of kmtard's own. "
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
            text = command_text(entry.command)
            self.app.copy_to_clipboard(text)
            self._tell(f"Copied: {text}")

    @work
    async def action_remove(self) -> None:
        """Take the entry away; if it runs, stop it, and the second time kill it."""
        queue, entry = self.launcher.queue, self.table.selected
        if entry is None:
            return
        if entry.is_elsewhere:
            if await self._is_sure(
                f"Remove {entry.title}?",
                "Remove",
                f"It runs on {entry.host}, and goes on if that machine still lives.",
            ):
                await self._change(partial(queue.remove, entry.id))
        elif not entry.is_alive:
            await self._change(partial(queue.remove, entry.id))
        elif not entry.stopping and entry.id != self._stopped:
            if await self._change(partial(queue.stop, entry.id)):
                self._stopped = entry.id
                self._tell(f"{entry.title} finishes its batch, saves and exits.")
        elif await self._is_sure(
            f"Kill {entry.title}?",
            "Kill",
            "It ends at once. Resumed, a run goes on from its last checkpoint.",
        ):
            await self._change(partial(queue.kill, entry.id))

    async def _is_sure(self, question: str, yes: str, details: str) -> bool:
        return await self.app.push_screen_wait(ConfirmScreen(question, yes, details))

    async def _change(self, change: Callable[[], object]) -> bool:
        """Change the queue in a thread; return whether it could be done."""
        is_done = False
        with reported(self.app):
            await asyncio.to_thread(change)
            is_done = True
        self._look()
        return is_done
