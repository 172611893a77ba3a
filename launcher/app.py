"""The terminal user interface."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import work
from textual.app import App
from textual.binding import BindingType
from textual.screen import Screen
from textual.theme import Theme
from textual.widget import Widget

from kmtard.runs import RunError
from kmtard.runs.queue.queue import Queue
from kmtard.runs.visible import visible_lines
from launcher.actions import Commands
from launcher.bindings import all_bindings, bindings
from launcher.keys import clashes, read_keys, unknown_ids
from launcher.settings import Settings, config_dir, state_path

if TYPE_CHECKING:
    from kmtard.runs import Run


# Screens are imported when they are first shown, for a fast first paint.
def _runs() -> Screen[Any]:
    from launcher.screens.runs import RunsScreen

    return RunsScreen()


def _recipes() -> Screen[Any]:
    from launcher.screens.recipes import RecipesScreen

    return RecipesScreen()


def _queue() -> Screen[Any]:
    from launcher.screens.queue import QueueScreen

    return QueueScreen()


class LauncherApp(App[object]):
    """Pick recipes, launch runs, watch and compare them.

    Args:
        runs_dir: the folder of the runs.
        recipes: TOML files or folders to list with the recipes that are found.
        attach: a run to open at the start.
        settings: what is remembered; the user's own file if None.
        pictures: widget that draws images by the terminal; None for half blocks.
    """

    TITLE = "kmtard"
    CSS_PATH = "launcher.tcss"
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {
        "runs": _runs,
        "recipes": _recipes,
        "queue": _queue,
    }
    DEFAULT_MODE = "runs"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (60, "-medium"), (110, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (16, "-tall")]
    BINDINGS: ClassVar[list[BindingType]] = bindings("app")
    COMMANDS = {Commands}

    def __init__(
        self,
        runs_dir: Path,
        *,
        recipes: Sequence[Path] = (),
        attach: Path | None = None,
        settings: Settings | None = None,
        pictures: type[Widget] | None = None,
    ) -> None:
        super().__init__()
        self.runs_dir = runs_dir
        self.recipes = tuple(recipes)
        self.attach = attach
        self.settings = settings or Settings(state_path())
        self.queue = Queue(runs_dir)
        self.pictures = pictures

    def on_mount(self) -> None:
        """Apply the user's theme and keys, and open what the command line names."""
        theme = self.settings.get("theme", self.theme)
        if theme in self.available_themes:
            self.theme = theme
        self.theme_changed_signal.subscribe(self, self._remember)
        keys = read_keys(config_dir() / "keys.toml")
        self.set_keymap(keys.keys)
        for mistake in keys.mistakes:
            self.report(mistake)
        if self.attach is not None:
            self.open_run(self.attach)
        elif self.recipes:
            self.action_show("recipes")
        self.call_after_refresh(self._check_start, keys.keys)
        self.call_after_refresh(self._watch_runs)

    def _watch_runs(self) -> None:
        """Tell the user from now on when a run ends."""
        from launcher.notifications import FILE, Notifier, read_ways

        ways = read_ways(config_dir() / FILE)
        for mistake in ways.mistakes:
            self.report(mistake)
        Notifier(self, ways)

    def _remember(self, theme: Theme) -> None:
        self.settings.set("theme", theme.name)

    @work(thread=True)
    def _check_start(self, keys: dict[str, str]) -> None:
        """Check the user's keys, and start the queue if something waits."""
        known = all_bindings()
        for mistake in unknown_ids(keys, known) + clashes(keys, known):
            self.call_from_thread(self.report, mistake)
        try:
            if any(map(self.queue.may_start, self.queue.entries())):
                self.queue.ensure_runner()
            if self.queue.unconfirmed():
                self.call_from_thread(self._tell_of_foreign_queue)
        except RunError as error:
            self.call_from_thread(self.report, error)

    def _tell_of_foreign_queue(self) -> None:
        self.notify(
            "Some commands in the queue are not from you on this computer. They start "
            "only after you confirm them: press 3, then s.",
            title="Nothing was started",
            severity="warning",
            timeout=10,
            markup=False,
        )

    def action_show(self, mode: str) -> None:
        """Show one of the three main screens, without what was opened from it."""
        self.switch_mode(mode)
        while len(self.screen_stack) > 1:
            self.pop_screen()

    def leave_main(self) -> None:
        """Go from a main screen to the runs, and from there quit."""
        if self.current_mode == self.DEFAULT_MODE:
            self.exit()
        else:
            self.action_show(self.DEFAULT_MODE)

    def action_help(self) -> None:
        """Show help about the screen."""
        from launcher.screens.help import HelpScreen

        self.push_screen(HelpScreen(self.screen))

    def action_toggle_dark(self) -> None:
        """Change between the dark and the light theme."""
        dark = self.current_theme.dark
        self.theme = "textual-light" if dark else "textual-dark"

    def open_run(self, path: Path) -> None:
        """Show one run."""
        from launcher.screens.live import LiveScreen

        self.push_screen(LiveScreen(path))

    def compare(self, runs: Sequence[Run]) -> None:
        """Compare several runs."""
        from launcher.screens.compare import CompareScreen

        self.push_screen(CompareScreen(list(runs)))

    def write_to_terminal(self, text: str) -> None:
        """Send a control sequence that changes nothing on the screen."""
        # Textual has no public way.
        if self._driver is not None:
            self._driver.write(text)

    def report(self, error: object) -> None:
        """Show an error, its text as it is."""
        text = visible_lines(str(error))
        self.notify(text, severity="error", timeout=10, markup=False)
