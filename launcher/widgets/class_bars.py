"""Clean and robust accuracy of each class as one bar."""

from __future__ import annotations

from collections import Counter

from rich.cells import cell_len, set_cell_size
from rich.style import Style
from rich.text import Text
from textual.widgets import Static

from kmtard.runs.formats import percent
from kmtard.runs.results import Results
from kmtard.runs.visible import shortened, visible
from launcher.palette import STYLES

ROBUST, LOST, WRONG = "█", "▒", "·"
LONGEST = 20  # cells of a name
NUMBER = 8  # cells of a number
SHORTEST = 10  # cells of a bar
ALL = "all classes"

Row = tuple[str, int, float, float]
"""Name, number of images, clean accuracy and robust accuracy."""


class ClassBars(Static):
    """One line per class: robust, lost to the attack, and wrong without it.

    An image that is robust is also classified correctly clean, so that one bar shows
    both accuracies.
    """

    def __init__(self) -> None:
        super().__init__()
        self._results: Results | None = None
        self._attack = ""
        self.worst_first = False

    def show(self, results: Results | None, attack: str, *, worst_first: bool) -> None:
        """Show the student of a record under an attack.

        Args:
            results: the record, with an outcome per image; None for nothing.
            attack: name of the attack.
            worst_first: whether the class with the lowest robust accuracy is first.
        """
        self._results, self._attack = results, attack
        self.worst_first = worst_first
        self._draw()

    def on_mount(self) -> None:
        """Draw in the colors of another theme."""
        self.app.theme_changed_signal.subscribe(self, lambda theme: self._draw())

    def on_resize(self) -> None:
        """Draw for another width."""
        self._draw()

    def _draw(self) -> None:
        self.update(self._picture() if self._results is not None else Text())

    def _rows(self, results: Results) -> list[Row]:
        student = results.student
        clean, robust = student.clean, student.attacks[self._attack]
        images, right = Counter(results.labels), results.by_class(robust)
        rows = [
            (results.class_name(each), images[each], share, right.get(each, 0.0))
            for each, share in results.by_class(clean).items()
        ]
        if self.worst_first:
            rows.sort(key=lambda row: row[3])
        total = (ALL, len(results.labels), clean.accuracy, robust.accuracy)
        return [total, *rows]

    def _picture(self) -> Text:
        results = self._results
        if results is None or self._attack not in results.student.attacks:
            return Text()
        rows = self._rows(results)
        width = self.size.width
        longest = max(cell_len(visible(name)) for name, *_ in rows)
        name_width = min(longest, LONGEST, max(4, width // 4))
        room = max(SHORTEST, width - name_width - 3 * NUMBER - 2)
        inks = [Style(color=f"rgb{STYLES[number].colour}") for number in (0, 1)]
        head = Text().append(set_cell_size("class", name_width) + " ", "dim")
        legend = Text.assemble(
            (f"{ROBUST} robust", inks[0]),
            "  ",
            (f"{LOST} lost", inks[1]),
            "  ",
            (f"{WRONG} wrong clean", "dim"),
        )
        legend.truncate(room, overflow="ellipsis", pad=True)
        head.append_text(legend)
        for title in ("robust", "clean", "images"):
            head.append(title.rjust(NUMBER), "dim")
        lines = [head]
        for number, (name, images, clean, robust) in enumerate(rows):
            solid, right = round(room * robust), round(room * clean)
            shown = shortened(visible(name), name_width)
            line = Text(f"{shown} ", "" if number else "bold")
            line.append(ROBUST * solid, inks[0])
            line.append(LOST * (right - solid), inks[1])
            line.append(WRONG * (room - right), "dim")
            for value in (percent(robust), percent(clean), str(images)):
                line.append(value.rjust(NUMBER))
            lines.append(line)
        return Text("\n", no_wrap=True).join(lines)
