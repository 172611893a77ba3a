"""The terminal user interface."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import work
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.dom import DOMNode
from textual.screen import Screen
from textual.theme import Theme

from kmtard.runs import RunError
from kmtard.runs.queue.queue import Queue
from kmtard.runs.visible import visible_lines
from launcher.keys import clashes, read_keys, unknown_ids
from launcher.settings import Settings, config_dir, state_path

if TYPE_CHECKING:
    from kmtard.runs import Run


SCREENS = Binding.Group("Screens", compact=True)


# A screen is imported when it is first shown: the first paint waits for one alone.
def _runs() -> Screen[Any]:
    from launcher.screens.runs import RunsScreen

    return RunsScreen()


def _recipes() -> Screen[Any]:
    from launcher.screens.recipes import RecipesScreen

    return RecipesScreen()


def _queue() -> Screen[Any]:
    from launcher.screens.queue import QueueScreen

    return QueueScreen()


class LauncherApp(App[None]):
    """Pick recipes, launch runs, watch and compare them.

    Args:
        runs_dir: folder of the runs that are shown, and of those that are started.
        recipes: TOML files or folders to show beside the recipes that are found.
        attach: a run to open at the start.
        settings: what is remembered; the user's own file if left out.
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
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1,f1", "show('runs')", "Runs", id="app.runs", group=SCREENS),
        Binding("2,f2", "show('recipes')", "Recipes", id="app.recipes", group=SCREENS),
        Binding("3,f3", "show('queue')", "Queue", id="app.queue", group=SCREENS),
        Binding(
            "question_mark",
            "help",
            "Help",
            id="app.help",
            show=False,
            tooltip="What this screen is for, and its keys",
        ),
        Binding(
            "ctrl+t",
            "toggle_dark",
            "Dark / light",
            id="app.theme",
            show=False,
            tooltip="Other themes are in the command palette",
        ),
        Binding(
            "ctrl+q",
            "quit",
            "Quit",
            id="app.quit",
            show=False,
            tooltip="Runs and the queue go on",
        ),
    ]

    def __init__(
        self,
        runs_dir: Path,
        *,
        recipes: Sequence[Path] = (),
        attach: Path | None = None,
        settings: Settings | None = None,
    ) -> None:
        super().__init__()
        self.runs_dir = runs_dir
        self.recipes = tuple(recipes)
        self.attach = attach
        self.settings = settings or Settings(state_path())
        self.queue = Queue(runs_dir)

    def on_mount(self) -> None:
        """Take the user's theme and keys, and show what the command line asks for."""
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
        self.call_after_refresh(self._look_around, keys.keys)

    def _remember(self, theme: Theme) -> None:
        self.settings.set("theme", theme.name)

    @work(thread=True)
    def _look_around(self, keys: dict[str, str]) -> None:
        """Load the other screens, see to the queue, and check the user's keys."""
        from launcher.bindings import all_bindings

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
            "You did not queue some of what waits here on this computer. It starts "
            "only after you confirm it: press 3, then s.",
            title="Nothing was started",
            severity="warning",
            timeout=10,
            markup=False,
        )

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Offer in the palette what the screen's keys do, then Textual's own."""
        for active in screen.active_bindings.values():
            binding = active.binding
            if binding.description and active.enabled and not binding.system:
                node, action = active.node, binding.action

                async def run(node: DOMNode = node, action: str = action) -> None:
                    await self.run_action(action, node)

                keys = f"key {self.get_key_display(binding)}"
                about = active.tooltip or binding.tooltip
                yield SystemCommand(
                    binding.description, f"{about} ({keys})" if about else keys, run
                )
        yield from super().get_system_commands(screen)

    def action_show(self, mode: str) -> None:
        """Go to one of the three main screens."""
        self.switch_mode(mode)

    def action_help(self) -> None:
        """Explain the screen."""
        from launcher.screens.help import HelpScreen

        self.push_screen(HelpScreen(self.screen))

    def action_toggle_dark(self) -> None:
        """Change between the dark and the light theme."""
        dark = self.current_theme.dark
        self.theme = "textual-light" if dark else "textual-dark"

    def open_run(self, path: Path) -> None:
        """Show one run as it goes on."""
        from launcher.screens.live import LiveScreen

        self.push_screen(LiveScreen(path))

    def compare(self, runs: Sequence[Run]) -> None:
        """Show several runs beside each other."""
        from launcher.screens.compare import CompareScreen

        self.push_screen(CompareScreen(list(runs)))

    def report(self, error: object) -> None:
        """Show the user what went wrong, the text as it is."""
        text = visible_lines(str(error))
        self.notify(text, severity="error", timeout=10, markup=False)
