"""One run in a few lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size
from rich.style import Style
from rich.text import Text
from textual.widgets import Static

from kmtard.registry.roles import LABELS
from kmtard.runs.formats import ABSENT, day, duration, percent
from kmtard.runs.history import ends_in
from kmtard.runs.listing import progress_text
from kmtard.runs.outline import Line, column_texts, settings_lines
from kmtard.runs.phase import Accuracies
from kmtard.runs.summary import COMPILING, Summary
from kmtard.runs.visible import visible
from launcher.widgets.run_table import symbol, theme_style

BAR = 20  # cells


class RunDetail(Static):
    """The selected line: a run with its log, or what several runs add up to."""

    _line: Line | None = None
    _log: Sequence[str] = ()

    def show(self, line: Line, log: Sequence[str]) -> None:
        """Show a line of the list.

        Args:
            line: a run, a cell, a setting or a study.
            log: the last lines of its log.
        """
        self._line, self._log = line, log
        row = line.row
        if row is not None:
            lines = [self._title(row, line), _progress(row), *_scores(row)]
        else:
            lines = [self._title_of_many(line), *_about_many(line)]
        if row and row.notes.text:
            lines.append(Text(f"note: {visible(row.notes.text)}", "italic"))
        if note := row.note if row else _problem(line):
            lines.append(Text(visible(note), theme_style(self.app, "text-error")))
        room = max(0, self.size.height - len(lines))
        for text in log[-room:] if room else ():
            lines.append(Text(text, "dim"))
        self.update(Text("\n").join(lines))

    def on_resize(self) -> None:
        """Show as many lines of the log as fit."""
        if self._line is not None:
            self.show(self._line, self._log)

    def _title_of_many(self, line: Line) -> Text:
        title = self._named(line.name, line.state)
        if line.cell is not None:
            where = f"in the {line.cell.where}" if line.cell.where == "queue" else ""
            return title.append(f"  {where or visible(line.cell.where)}", "dim")
        states = [cell.state for cell in line.study.cells] if line.study else []
        states = states or [row.state for row in line.runs]
        counts = [f"{count} {state}" for state, count in Counter(states).items()]
        return title.append("  " + visible(", ".join(counts)), "dim")

    def _named(self, name: str, state: str) -> Text:
        style = self._style(state)
        sign, _ = symbol(state)
        title = Text.assemble((visible(name), "bold"), "  ", (sign, style), " ")
        return title.append(state, style)

    def _style(self, state: str) -> Style | str:
        _, colour = symbol(state)
        return theme_style(self.app, colour) if colour else ""

    def _title(self, row: Summary, line: Line) -> Text:
        title, style = self._named(row.name, line.state), self._style(line.state)
        if row.state == "remote":
            title.append(f" on {visible(row.host)}: watch only", style)
        about = [row.data, row.method, row.network, row.seed and f"seed {row.seed}"]
        return title.append("  " + visible(", ".join(filter(None, about))), "dim")


def _about_many(line: Line) -> list[Text]:
    """Return where the runs of a line are at work, and their mean accuracies."""
    lines = []
    cells = line.study.cells if line.study else ()
    at_work = [
        f"{cell.name} on {cell.where}"
        for cell in cells
        if cell.state == "running" and cell.where
    ]
    if at_work:
        lines.append(Text(visible("running: " + ", ".join(at_work))))
    settings = settings_lines(line.study) if line.study else [line]
    texts = [column_texts(each) for each in settings if each.runs]
    texts = [each for each in texts if each["W-Robust"] != ABSENT]
    width = {
        title: max((cell_len(visible(each[title])) for each in texts), default=0)
        for title in ("name", "clean", "attack", "robust", "W-Robust")
    }
    for each in texts:
        name = set_cell_size(visible(each["name"]), width["name"])
        attack = set_cell_size(visible(each["attack"]), width["attack"])
        best = f"{each['W-Robust']:>{width['W-Robust']}}"
        lines.append(
            Text.assemble(
                f"{name}  clean {each['clean']:>{width['clean']}}  "
                f"{attack} {each['robust']:>{width['robust']}}  W-Robust ",
                (best, "bold"),
            )
        )
    return lines


def _problem(line: Line) -> str:
    return line.study.problem if line.study else ""


def _progress(row: Summary) -> Text:
    text = Text()
    # A run that compiles has done nothing yet: 0 % would look like standing still.
    if row.fraction is not None and row.progress != COMPILING:
        text.append(progress_text(row.fraction, BAR)).append("  ")
    facts = [f"epoch {row.progress}" if row.progress[:1].isdigit() else row.progress]
    facts += [
        ends_in(row.left),
        f"worked {duration(row.seconds)}",
        f"started {day(row.created)}",
    ]
    facts += [f"tags: {' '.join(row.notes.tags)}" if row.notes.tags else ""]
    return text.append(visible(" · ".join(filter(None, facts))))


def _scores(row: Summary) -> list[Text]:
    lines = []
    if score := row.score:
        images = "test images"
        if not score.is_final:
            images = f"{score.origin}, on the images that choose it"
        lines.append(_figures(LABELS["student"], score).append(f"  {images}", "dim"))
    for role, score in row.teachers.items():
        lines.append(_figures(LABELS[role], score).append("  best epoch", "dim"))
    return lines


def _figures(label: str, score: Accuracies) -> Text:
    clean, robust, best = map(percent, (score.clean, score.robust, score.w_robust))
    return Text.assemble(
        f"{label:15}clean {clean:>6}  {visible(score.attack)} {robust:>6}  W-Robust ",
        (f"{best:>6}", "bold"),
    )
