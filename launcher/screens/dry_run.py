"""A dry run as it goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Log, Static

from kmtard.runs.visible import visible
from launcher.recipes.dry_run import DryRun
from launcher.widgets.key_bar import KeyBar

PAUSE = 0.25  # seconds between two looks at the output


class DryRunScreen(Screen[None]):
    """The output of a dry run, which goes on when the screen is left.

    Args:
        title: what is tried.
        dry_run: its process.
        command: the command line as one types it.
        again: starts another one; None if it cannot be started.
    """

    HELP = """
# Dry run

Builds the networks and measures some steps, in a process of its own: parameters, steps
of an epoch, memory and the time of the whole run, as far as they can be estimated.
Nothing is written, and no run is started.

Leave with **escape**: the dry run goes on, and the same key shows it again. **x**
cancels it, **r** starts it anew with what the form says by then. It ends with the
launcher.
"""
    CSS_PATH = "dry_run.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "escape", "app.pop_screen", "Back", id="dry_run.back", tooltip="It goes on"
        ),
        Binding(
            "x",
            "cancel",
            "Cancel",
            id="dry_run.cancel",
            tooltip="Ends it; at the second time by force",
        ),
        Binding(
            "r",
            "again",
            "Run again",
            id="dry_run.again",
            tooltip="With what the form says now",
        ),
    ]

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
        """Show what there is, and go on looking."""
        self.query_one(Log).focus()
        self.set_interval(PAUSE, self._look)
        self._look()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer what can be done now."""
        running = self._dry_run.exit_code is None
        return {"cancel": running, "again": not running}.get(action, True)

    def action_cancel(self) -> None:
        """End the process."""
        self._dry_run.cancel()
        self._look()

    def action_again(self) -> None:
        """Start anew."""
        self.app.pop_screen()
        self._again()

    def _look(self) -> None:
        state = self._dry_run.state
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
