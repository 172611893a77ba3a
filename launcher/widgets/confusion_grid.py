"""What the images of each class are taken for under an attack."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size
from rich.style import Style
from rich.text import Text
from textual.app import ComposeResult
from textual.color import Color
from textual.containers import ScrollableContainer
from textual.widgets import Static

from kmtard.runs.result_tables import MOST_CLASSES, confusion_table
from kmtard.runs.results import Results
from kmtard.runs.visible import shortened, visible
from launcher.closing import while_open
from launcher.palette import STYLES

LONGEST = 16  # cells of the name of a class
NARROWEST, WIDEST = 4, 10  # cells of a column
DEEPEST = 0.7  # share of the ink in the background of a cell with the whole row
NOTHING = "·"


class ConfusionGrid(ScrollableContainer, can_focus=True):
    """A matrix of classes, or a list of the most frequent mistakes if there are many.

    A stronger background means a larger share of the row. Right answers are bold.
    """

    DEFAULT_CSS = """
    ConfusionGrid { height: 1fr; Static { width: auto; } }
    """

    def __init__(self) -> None:
        super().__init__()
        self._results: Results | None = None
        self._attack = ""

    def compose(self) -> ComposeResult:
        """Show the frame only."""
        yield Static()

    def show(self, results: Results | None, attack: str) -> None:
        """Show the student of a record under an attack.

        Args:
            results: the record, with a prediction per image; None for nothing.
            attack: name of the attack.
        """
        self._results, self._attack = results, attack
        self._draw()

    def on_mount(self) -> None:
        """Draw in the colors of another theme."""
        self.app.theme_changed_signal.subscribe(self, lambda theme: self._draw())

    def on_resize(self) -> None:
        """Draw for another width."""
        self._draw()

    @while_open
    def _draw(self) -> None:
        self.query_one(Static).update(self._picture())

    def _picture(self) -> Text:
        results, attack = self._results, self._attack
        if results is None or attack not in results.student.attacks:
            return Text()
        counts = results.confusion(results.student.attacks[attack])
        classes = sorted({one for pair in counts for one in pair})
        if len(classes) > MOST_CLASSES:
            return self._list(results)
        names = [visible(results.class_name(each)) for each in classes]
        width = self.size.width
        first = min(LONGEST, max(map(cell_len, [*names, "label"]), default=0))
        digits = max((len(str(count)) for count in counts.values()), default=0)
        room = (width - first - 1) // max(1, len(classes))
        longest = max(map(cell_len, names), default=0)
        cell = max(NARROWEST, digits + 2, min(room, WIDEST, longest + 1))
        head = Text(" " * (first + 1), "dim")
        for name in names:
            cut = set_cell_size(name, min(cell - 1, cell_len(name)))
            head.append(" " * (cell - cell_len(cut)) + cut)
        lines = [Text("label ↓   prediction →", "dim"), head]
        for one, name in zip(classes, names, strict=True):
            total = sum(counts[one, other] for other in classes)
            line = Text(shortened(name, first) + " ")
            for other in classes:
                count = counts[one, other]
                text = (str(count) if count else NOTHING).rjust(cell)
                style = self._style(count / total if total else 0.0, one == other)
                line.append(text, style)
            lines.append(line)
        return Text("\n", no_wrap=True).join(lines)

    def _style(self, share: float, is_right: bool) -> Style:
        if not share:
            return Style(dim=True)
        surface = Color.parse(self.app.theme_variables["surface"])
        ink = Color(*STYLES[0 if is_right else 1].colour)
        back = surface.blend(ink, DEEPEST * share**0.5)
        # A text must be readable on each of the backgrounds.
        front = back.get_contrast_text(1.0)
        return Style(
            color=front.rich_color, bgcolor=back.rich_color, bold=is_right or None
        )

    def _list(self, results: Results) -> Text:
        table = confusion_table(results, results.student, self._attack)
        lines = [Text("the most frequent mistakes", "dim")]
        for one, other, count in table.rows:
            lines.append(Text(f"{count:>6}  {visible(one)} → {visible(other)}"))
        return Text("\n", no_wrap=True).join(lines)
