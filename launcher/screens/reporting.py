"""What went wrong, told and not thrown."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from textual.app import App

from kmtard.runs import RunError

if TYPE_CHECKING:
    from launcher.app import LauncherApp


@contextlib.contextmanager
def reported(app: App[Any]) -> Iterator[None]:
    """Show the user why an action on a run or the queue failed, and end it there."""
    try:
        yield
    except RunError as error:
        cast("LauncherApp", app).report(error)
    # A number that is too large for a process overflows.
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        cast("LauncherApp", app).report(f"Cannot read or write: {reason}.")
