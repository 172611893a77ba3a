"""The log of a run, which can be followed, wrapped and searched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, Static

from kmtard.runs.log_file import LogFile
from launcher.bindings import bindings
from launcher.poller import Poller
from launcher.settings import Settings
from launcher.widgets.log_text import LogText

PAUSE = 0.5  # seconds between two readings
MOST_PLACES = 100
"""Number of logs whose place is remembered."""


class LogPane(Vertical):
    """The end of a log file as it grows.

    Args:
        path: the file, which may be missing.
        settings: remembers the place in each log.

    Attributes:
        text: its lines.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings("log")
    ALLOW_MAXIMIZE = True
    DEFAULT_CSS = """
    LogPane {
        #log-search { height: 1; display: none; padding: 0 1; }
        #log-note { color: $text-muted; padding: 0 1; }
        &.-empty LogText { display: none; }
        &.-searching #log-search { display: block; }
    }
    """

    def __init__(self, path: Path, settings: Settings) -> None:
        super().__init__()
        self._path = path
        self._settings = settings
        self._file = LogFile(path)
        self.text = LogText()
        self._reads_earlier = False

    def compose(self) -> ComposeResult:
        """Show the lines above the line for a search."""
        yield Static("Reading the log ...", id="log-note")
        yield self.text
        yield Input(placeholder="Search the log", id="log-search", compact=True)

    def on_mount(self) -> None:
        """Go to the place where the log was left, and start reading."""
        place = self._places().get(str(self._path))
        self._file = LogFile(self._path, place)
        self._first_place = place
        self.text.is_following = place is None
        self.text.is_wrapped = self._settings.get("log.wrap", True)
        self._say()
        self._poller = Poller(self, self._reader, self._take, pause=PAUSE)

    def on_unmount(self) -> None:
        """Remember the place."""
        self.remember()

    def remember(self) -> None:
        """Remember the place, unless the end is followed."""
        places = self._places()
        places.pop(str(self._path), None)
        position = self.text.position
        if not self.text.is_following and position is not None:
            places[str(self._path)] = position
        kept = [f"{place}:{path}" for path, place in places.items()][-MOST_PLACES:]
        self._settings.set("log.places", kept)

    def _places(self) -> dict[str, int]:
        places = {}
        for text in self._settings.get("log.places", list[str]()):
            place, _, path = str(text).partition(":")
            if place.isdecimal():
                places[path] = int(place)
        return places

    def _reader(self) -> Callable[[], bool]:
        reads_earlier, self._reads_earlier = self._reads_earlier, False
        return self._file.read_earlier if reads_earlier else self._file.poll

    def _take(self, has_changed: bool) -> None:
        if has_changed:
            view = self._file.view
            self.query_one("#log-note", Static).update(Text(view.note))
            self.query_one("#log-note").display = bool(view.note)
            self.set_class(not view.lines, "-empty")
            self.text.show(view)
            if self._first_place is not None and view.lines:
                self.text.go_to(self._first_place)
                self._first_place = None
            self._say()

    @on(LogText.ReachedTop)
    def _read_earlier(self) -> None:
        if self._file.view.has_earlier:
            self._reads_earlier = True
            self._poller.now()

    @on(LogText.Changed)
    def _say(self) -> None:
        text = self.text
        words = ["following" if text.is_following else "paused: f follows"]
        words.append("wrapped" if text.is_wrapped else "not wrapped")
        if text.wanted:
            hits = text.hits
            place = hits.index(text.current) + 1 if text.current in hits else 0
            words.append(f"match {place}/{len(hits)}" if hits else "no match")
        if self._file.view.has_earlier:
            words.append("more above")
        elif any(self._file.view.offsets[:1]):
            words.append("earlier lines are not shown")
        self.border_title = Content(" · ".join([self._path.name, *words]))

    def action_follow(self) -> None:
        """Follow the end of the log, or stop following."""
        self.text.follow(not self.text.is_following)

    def action_wrap(self) -> None:
        """Wrap long lines, or cut them off."""
        self.text.wrap(not self.text.is_wrapped)
        self._settings.set("log.wrap", self.text.is_wrapped)
        self._say()

    def action_search(self) -> None:
        """Edit the text to search for."""
        self.add_class("-searching")
        self.query_one("#log-search").focus()

    @on(Input.Changed, "#log-search")
    def _search(self, event: Input.Changed) -> None:
        self.text.search(event.value)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave Escape to the screen while no search is open."""
        if action == "close_search":
            return self.has_class("-searching")
        return super().check_action(action, parameters)

    @on(Input.Submitted, "#log-search")
    def action_close_search(self) -> None:
        """Leave the search line; the matches stay highlighted."""
        self.remove_class("-searching")
        self.text.focus()

    def action_step(self, by: int) -> None:
        """Go to the next match, or the one before."""
        self.text.step(by)
