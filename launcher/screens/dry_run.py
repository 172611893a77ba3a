"""The output of a dry run, as it grows."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.widgets import Log, Static

from kmtard.runs.visible import visible
from launcher.bindings import bindings
from launcher.poller import Poller
from launcher.recipes.dry_run import DryRun
from launcher.screens.base import LauncherScreen
from launcher.widgets.key_bar import KeyBar

PAUSE = 0.25  # seconds between two looks at the output


class DryRunScreen(LauncherScreen[None]):
    """The output of a dry run, which continues when the screen is left.

    Args:
        title: name of the recipe.
        dry_run: its process.
        command: its command line.
        again: called to start another one.
    """

    PAGE = "dry_run"
    CSS_PATH = "dry_run.tcss"
    BINDINGS: ClassVar[list[BindingType]] = bindings("dry_run")

    def __init__(
        self, title: str, dry_run: DryRun, command: str, again: Callable[[], None]
    ) -> None:
        super().__init__()
        self._heading = title
        self._dry_run = dry_run
        self._command = command
        self._again = again
        self._shown = 0

    def compose(self) -> ComposeResult:
        """Show the state above the output."""
        yield Static(id="header")
        yield Static(Content(visible(self._command)), id="command")
        yield Log(id="output")
        yield KeyBar()

    def on_mount(self) -> None:
        """Show the output so far, and what follows."""
        self.query_one(Log).focus()
        self._poller = Poller(
            self, lambda: lambda: self._dry_run.state, self._show, pause=PAUSE
        )

    def unavailable(self, action: str) -> str:
        """Return why the dry run cannot be stopped or repeated now."""
        is_running = self._dry_run.exit_code is None
        reasons = (
            {"again": "it is running"} if is_running else {"cancel": "it has ended"}
        )
        return reasons.get(action, "")

    def action_cancel(self) -> None:
        """Ask the process to end; the second time, kill it."""
        self._dry_run.cancel()
        self._poller.now()

    def action_again(self) -> None:
        """Start another dry run."""
        self.app.pop_screen()
        self._again()

    def _show(self, state: str) -> None:
        new = self._dry_run.lines[self._shown :]
        self._shown += len(new)
        if new:
            self.query_one(Log).write_lines(map(visible, new))
        self.query_one("#header", Static).update(
            Content.assemble(
                ("Dry run  ", "bold"),
                visible(self._heading),
                (f"  {state}, {self._dry_run.seconds:.0f} s", "dim"),
            )
        )
        self.refresh_bindings()
