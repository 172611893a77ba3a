"""The log of a run: followed, wrapped, searched, and found again where it was left."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from kmtard.runs.log_file import LogFile, LogView
from launcher.widgets.log_text import LogText

if TYPE_CHECKING:
    from launcher.app import LauncherApp

PAUSE = 0.5  # seconds between two looks at the file
MOST_PLACES = 100
"""Logs whose place is remembered; the ones left longest ago are forgotten."""


class LogPane(Vertical):
    """The end of a log file as it grows.

    Args:
        path: the file, which may be missing.

    Attributes:
        text: its lines.
        timer: looks at the file now and then.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "f",
            "follow",
            "Follow",
            id="log.follow",
            tooltip="Keep the log's end in sight",
        ),
        Binding(
            "w", "wrap", "Wrap", id="log.wrap", tooltip="Break the log's long lines"
        ),
        Binding("slash", "search", "Search", id="log.search", tooltip="In the log"),
        Binding("n", "step(1)", "Next", id="log.next", show=False, tooltip="Next hit"),
        Binding(
            "N", "step(-1)", "Before", id="log.before", show=False, tooltip="Hit before"
        ),
        Binding(
            "g",
            "earlier",
            "Earlier",
            id="log.earlier",
            show=False,
            tooltip="Read what is before the log's first line",
        ),
        Binding(
            "escape", "close_search", "Close search", id="log.close_search", show=False
        ),
    ]
    ALLOW_MAXIMIZE = True
    DEFAULT_CSS = """
    LogPane {
        #log-search { height: 1; display: none; padding: 0 1; }
        #log-note { color: $text-muted; padding: 0 1; }
        &.-empty LogText { display: none; }
        &.-searching #log-search { display: block; }
    }
    """

    @dataclass
    class Read(Message):
        """The file was read."""

        view: LogView
        changed: bool

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._file = LogFile(path)
        self.text = LogText()
        self._is_reading = False

    @property
    def launcher(self) -> LauncherApp:
        """The app, by its own type."""
        return cast("LauncherApp", self.app)

    def compose(self) -> ComposeResult:
        """Show the lines, and below them what is searched."""
        yield Static("Reading the log ...", id="log-note")
        yield self.text
        yield Input(placeholder="search the log", id="log-search", compact=True)

    def on_mount(self) -> None:
        """Go where the log was left, and look at the file now and then."""
        place = self._places().get(str(self._path))
        self._file = LogFile(self._path, place)
        self._first_place = place
        self.text.is_following = place is None
        self.text.is_wrapped = self.launcher.settings.get("log.wrap", True)
        self._say()
        self.timer = self.set_interval(PAUSE, self.poll)
        self.poll()

    def on_unmount(self) -> None:
        """Remember the place."""
        self.remember()

    def remember(self) -> None:
        """Remember the place, or that the end is followed."""
        places = self._places()
        places.pop(str(self._path), None)
        position = self.text.position
        if not self.text.is_following and position is not None:
            places[str(self._path)] = position
        kept = [f"{place}:{path}" for path, place in places.items()][-MOST_PLACES:]
        self.launcher.settings.set("log.places", kept)

    def _places(self) -> dict[str, int]:
        places = {}
        for text in self.launcher.settings.get("log.places", list[str]()):
            place, _, path = str(text).partition(":")
            if place.isdecimal():
                places[path] = int(place)
        return places

    def poll(self) -> None:
        """Look at the file, unless a look goes on or nobody sees it."""
        if not self._is_reading and self.screen.is_current and self.display:
            self._is_reading = True
            self._read(earlier=False)

    @work(thread=True, group="log")
    def _read(self, *, earlier: bool) -> None:
        changed = self._file.read_earlier() if earlier else self._file.poll()
        self.post_message(self.Read(self._file.view, changed))

    @on(Read)
    def _take(self, message: Read) -> None:
        self._is_reading = False
        if message.changed:
            self.query_one("#log-note", Static).update(Text(message.view.note))
            self.query_one("#log-note").display = bool(message.view.note)
            self.set_class(not message.view.lines, "-empty")
            self.text.show(message.view)
            if self._first_place is not None and message.view.lines:
                self.text.go_to(self._first_place)
                self._first_place = None
            self._say()

    @on(LogText.ReachedTop)
    def action_earlier(self) -> None:
        """Read what is before the first line."""
        if not self._is_reading and self._file.view.has_earlier:
            self._is_reading = True
            self._read(earlier=True)

    @on(LogText.Changed)
    def _say(self) -> None:
        text = self.text
        words = ["following" if text.is_following else "held: f follows"]
        words.append("wrapped" if text.is_wrapped else "not wrapped")
        if text.wanted:
            hits = text.hits
            place = hits.index(text.current) + 1 if text.current in hits else 0
            words.append(f"{place}/{len(hits)} found" if hits else "nothing found")
        if self._file.view.has_earlier:
            words.append("more above")
        elif any(self._file.view.offsets[:1]):
            words.append("earlier lines left out")
        self.border_title = Content(" · ".join([self._path.name, *words]))

    def action_follow(self) -> None:
        """Follow the end, or stop it."""
        self.text.follow(not self.text.is_following)

    def action_wrap(self) -> None:
        """Break long lines, or let them run out of sight."""
        self.text.wrap(not self.text.is_wrapped)
        self.launcher.settings.set("log.wrap", self.text.is_wrapped)
        self._say()

    def action_search(self) -> None:
        """Ask what to look for."""
        self.add_class("-searching")
        self.query_one("#log-search").focus()

    @on(Input.Changed, "#log-search")
    def _search(self, event: Input.Changed) -> None:
        self.text.search(event.value)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave Escape to the screen where no search is to be closed."""
        if action == "close_search":
            return self.has_class("-searching")
        return super().check_action(action, parameters)

    @on(Input.Submitted, "#log-search")
    def action_close_search(self) -> None:
        """Leave the search line; what is found stays marked."""
        self.remove_class("-searching")
        self.text.focus()

    def action_step(self, by: int) -> None:
        """Go to the next hit, or the one before."""
        self.text.step(by)
