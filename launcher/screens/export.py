"""A dialog for the file of a table or figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Input, Label, Static

from kmtard.runs import RunError
from kmtard.runs.visible import visible
from launcher.screens.base import Dialog
from launcher.widgets.key_bar import KeyBar

Writer = Callable[[Path], None]


class ExportScreen(Dialog[Path | None]):
    """Asks for a path, and stays open until the file has been written.

    Args:
        suggested: name of the file; a path typed for it before is shown again.
        writers: ending of the name -> function that writes such a file, in a thread.
    """

    PAGE = "export"
    CSS_PATH = "export.tcss"
    typed: ClassVar[dict[str, str]] = {}

    @dataclass
    class Written(Message):
        """The file was written, unless `error` says why not."""

        path: Path
        error: str = ""

    def __init__(self, suggested: str, writers: Mapping[str, Writer]) -> None:
        super().__init__()
        self._suggested = suggested
        self._writers = writers
        self._asked = ""

    def compose(self) -> ComposeResult:
        """Show the path with the cursor at its end."""
        endings = ", ".join(self._writers)
        folder = self.app.settings.get("export.folder", "")
        path = Path(folder or Path.cwd()) / self._suggested
        with Vertical(id="export"):
            yield Label(f"Write to a file: {endings}")
            yield Input(
                self.typed.get(self._suggested, str(path)), select_on_focus=False
            )
            yield Static(id="said")
        yield KeyBar()

    def on_mount(self) -> None:
        """Let the user type at once."""
        self.query_one(Input).focus()

    @on(Input.Changed)
    def _keep(self, event: Input.Changed) -> None:
        self.typed[self._suggested] = event.value
        self._asked = ""
        self._say(self._mistake(event.value))

    @on(Input.Submitted)
    def _submit(self, event: Input.Submitted) -> None:
        mistake = self._mistake(event.value)
        question = "" if mistake else _question(_path(event.value))
        if mistake or question != self._asked:
            self._asked = question
            self._say(mistake or question)
        else:
            self._say("Writing ...")
            event.input.disabled = True
            self._write(_path(event.value))

    def _mistake(self, text: str) -> str:
        """Return what is wrong with a path; empty if it can be tried."""
        endings = ", ".join(self._writers)
        try:
            path = _path(text)
            if path.suffix.lower() not in self._writers:
                return f"Expected a name that ends with {endings}."
            if path.parent.exists() and not path.parent.is_dir():
                return f"{path.parent} is not a folder."
            return f"{path} is a folder." if path.is_dir() else ""
        except (OSError, ValueError, RuntimeError) as error:
            return f"Expected the path of a file: {error}."

    def _say(self, text: str) -> None:
        self.query_one("#said", Static).update(Text(visible(text)))

    @work(thread=True, group="write")
    def _write(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writers[path.suffix.lower()](path)
        except OSError as error:
            self.post_message(self.Written(path, f"{path}: {error.strerror}."))
        except RunError as error:
            self.post_message(self.Written(path, str(error)))
        else:
            self.post_message(self.Written(path))

    @on(Written)
    def _leave(self, message: Written) -> None:
        field = self.query_one(Input)
        field.disabled = False
        if message.error:
            self._asked = ""
            self._say(message.error)
            field.focus()
            return
        self.app.settings.set("export.folder", str(message.path.parent))
        self.tell(f"Written: {message.path}")
        self.dismiss(message.path)


def _path(text: str) -> Path:
    return Path(text.strip()).expanduser().absolute()


def _question(path: Path) -> str:
    if path.exists():
        return f"{path} exists. Press Enter again to overwrite it."
    if not path.parent.exists():
        return f"{path.parent} does not exist. Press Enter again to create it."
    return ""
