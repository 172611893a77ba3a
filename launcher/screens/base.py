"""What every screen and dialog has: its app, keys, help and messages."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeVar

from textual.actions import SkipAction
from textual.binding import BindingType
from textual.screen import ModalScreen, Screen

from kmtard.runs import RunError
from launcher.bindings import bindings
from launcher.closing import is_open

if TYPE_CHECKING:
    from launcher.app import LauncherApp

HELP_FOLDER = Path(__file__).parents[1] / "help"
MOVES = {
    "down": ("cursor_down", "scroll_down"),
    "up": ("cursor_up", "scroll_up"),
    "top": ("first", "scroll_top", "scroll_home"),
    "bottom": ("last", "scroll_bottom", "scroll_end"),
}
"""Where to move -> the actions of Textual's widgets that go there, best first."""

Result = TypeVar("Result")


class LauncherScreen(Screen[Result]):
    """A screen of the launcher.

    Attributes:
        app: the launcher.
        PAGE: name of its page of help, a Markdown file in `launcher/help`.
    """

    app: LauncherApp
    PAGE: ClassVar[str] = ""
    BINDINGS: ClassVar[list[BindingType]] = bindings("every")

    @property
    def help_text(self) -> str:
        """What the screen is for, in Markdown."""
        page = HELP_FOLDER / f"{self.PAGE}.md"
        return page.read_text(encoding="utf-8") if self.PAGE else ""

    def unavailable(self, action: str) -> str:
        """Return why an action cannot be done now; empty if it can."""
        del action
        return ""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Disable what is unavailable now."""
        # The widgets that tell are not there before, and go while a screen closes.
        if self.is_mounted and is_open(self) and self.unavailable(action):
            return None
        return super().check_action(action, parameters)

    def action_move(self, where: str) -> None:
        """Move the cursor, or scroll where there is none."""
        nodes = self.focused.ancestors_with_self if self.focused else []
        for node in nodes:
            for name in MOVES[where]:
                if action := getattr(node, f"action_{name}", None):
                    with contextlib.suppress(SkipAction):
                        action()
                        return

    def action_leave(self) -> None:
        """Close the screen; a main screen leads back to the runs."""
        if len(self.app.screen_stack) > 1:
            self.dismiss(None)
        else:
            self.app.leave_main()

    def tell(self, text: str) -> None:
        """Show a message, its text as it is."""
        self.app.notify(text, markup=False)

    @contextlib.contextmanager
    def reported(self) -> Iterator[None]:
        """Show the user why an action on files failed, and end it there."""
        try:
            yield
        except RunError as error:
            self.app.report(error)
        # A number that is too large for a process overflows.
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            self.app.report(f"Cannot read or write: {reason}.")


class Dialog(LauncherScreen[Result], ModalScreen[Result]):
    """A question above another screen."""
