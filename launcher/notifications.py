"""Tell the user that a run has ended, even if the terminal is not in view."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kmtard.runs.files import read_regular
from kmtard.runs.summary import Summary
from kmtard.runs.visible import visible
from kmtard.runs.watch import RunWatch, ending

if TYPE_CHECKING:
    from launcher.app import LauncherApp

PAUSE = 5.0  # seconds between two looks
PATIENCE = 30.0  # seconds that a command may take
LONGEST = 200  # characters
FILE = "launcher.toml"
SWITCHES = ("bell", "terminal", "desktop")
DESKTOPS = ("DISPLAY", "WAYLAND_DISPLAY")
"""Variables of the environment that name a desktop."""


@dataclass(frozen=True)
class Ways:
    """How the user wants to be told.

    Attributes:
        bell: by the bell of the terminal.
        terminal: by a notification of the terminal (OSC 9 and OSC 777).
        desktop: by `notify-send`, where there is one and a desktop.
        command: by a command with its arguments; empty for none.
        mistakes: what is wrong with the file; what is wrong is ignored.
    """

    bell: bool = True
    terminal: bool = True
    desktop: bool = True
    command: tuple[str, ...] = ()
    mistakes: tuple[str, ...] = ()


def read_ways(path: Path) -> Ways:
    """Read the table `[notify]` of the launcher's own file; no file changes nothing.

    Nothing else names a command: recipes and runs may come from other people.
    """
    try:
        document = tomllib.loads(read_regular(path).decode("utf-8-sig"))
    except FileNotFoundError:
        return Ways()
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        return Ways(mistakes=(f"{path}: expected a readable TOML file: {reason}",))
    table = document.get("notify", {})
    if not isinstance(table, dict):
        return Ways(
            mistakes=(f"{path}: expected a table [notify], received {table!r}",)
        )
    switches, mistakes, command = dict[str, bool](), list[str](), tuple[str, ...]()
    for name, value in table.items():
        if name in SWITCHES and isinstance(value, bool):
            switches[name] = value
        elif name == "command" and _is_command(value):
            command = tuple(value)
        else:
            mistakes.append(f"{path}: notify.{name}: {_wanted(name, value)}")
    return Ways(**switches, command=command, mistakes=tuple(mistakes))


def _is_command(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _wanted(name: str, value: Any) -> str:
    if name in SWITCHES:
        return f"expected true or false, received {value!r}"
    if name == "command":
        return (
            'expected a list of strings, such as ["notify", "{text}"], '
            f"received {value!r}"
        )
    return f"no such key; there are {', '.join((*SWITCHES, 'command'))}"


class Notifier:
    """Looks for runs that have ended, on every screen, and tells the user.

    Args:
        app: the launcher.
        ways: how to tell.
    """

    def __init__(self, app: LauncherApp, ways: Ways) -> None:
        self._app = app
        self._ways = ways
        self._watch = RunWatch(app.runs_dir)
        self._is_looking = False
        app.set_interval(PAUSE, self._begin)
        self._begin()

    def _begin(self) -> None:
        if not self._is_looking:
            self._is_looking = True
            self._app.run_worker(self._look(), group="notifier")

    async def _look(self) -> None:
        try:
            ended = await asyncio.to_thread(self._watch.look)
        finally:
            self._is_looking = False
        for run in ended:
            await self.tell(run)

    async def tell(self, run: Summary) -> None:
        """Tell the user how a run ended, in every way that is wanted."""
        text = visible(ending(run))[:LONGEST]
        has_failed = run.state in ("failed", "crashed")
        self._app.notify(
            text,
            severity="error" if has_failed else "information",
            timeout=10,
            markup=False,
        )
        if self._ways.bell:
            self._app.bell()
        if self._ways.terminal:
            self._app.write_to_terminal(osc(text))
        if self._ways.desktop and has_desktop():
            await self._run(("notify-send", "--app-name=kmtard", "--", "kmtard", text))
        if self._ways.command:
            await self._run(filled(self._ways.command, run), run)

    async def _run(self, command: Sequence[str], run: Summary | None = None) -> None:
        problem = await asyncio.to_thread(execute, command, run)
        if problem:
            self._app.report(f"The notification failed: {problem}.")


def osc(text: str) -> str:
    """Return the sequences for a notification of the terminal.

    A terminal ignores those that it does not know.

    Args:
        text: visible characters only.
    """
    # A semicolon would end the title of OSC 777.
    title, body = "kmtard", text.replace(";", ",")
    return f"\x1b]9;{title}: {body}\x07\x1b]777;notify;{title};{body}\x07"


def has_desktop() -> bool:
    """Return whether there is a desktop that shows notifications."""
    named = any(os.environ.get(name) for name in DESKTOPS)
    return named and shutil.which("notify-send") is not None


def filled(command: Sequence[str], run: Summary) -> list[str]:
    """Return a command with the facts about a run in place of `{text}` and others."""
    facts = {f"{{{name}}}": value for name, value in facts_of(run).items()}
    filled_in = []
    for part in command:
        for name, value in facts.items():
            part = part.replace(name, value)
        filled_in.append(part)
    return filled_in


def facts_of(run: Summary) -> dict[str, str]:
    """Return what a command may use: name, state, text and folder of a run."""
    return {
        "name": visible(run.name),
        "state": run.state,
        "text": visible(ending(run))[:LONGEST],
        "path": str(run.run.path),
    }


def execute(command: Sequence[str], run: Summary | None = None) -> str:
    """Run a command without a shell; return why it failed, or an empty text.

    Args:
        command: with its arguments.
        run: what it is about, for the variables `KMTARD_NAME`, `KMTARD_STATE`,
            `KMTARD_TEXT` and `KMTARD_PATH`.
    """
    facts = facts_of(run) if run else {}
    variables = {f"KMTARD_{name.upper()}": value for name, value in facts.items()}
    try:
        done = subprocess.run(
            list(command),
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
            start_new_session=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"{command[0]} took more than {PATIENCE:.0f} seconds and was ended"
    except (OSError, ValueError) as error:
        return f"{command[0]}: {getattr(error, 'strerror', None) or error}"
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        more = f": {visible(said[0])[:LONGEST]}" if said else ""
        return f"{command[0]} ended with code {done.returncode}{more}"
    return ""
