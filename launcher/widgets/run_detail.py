"""One run in a few lines."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.widgets import Static

from kmtard.registry.roles import LABELS
from kmtard.runs.formats import day, duration, percent
from kmtard.runs.phase import Accuracies
from kmtard.runs.summary import Summary
from kmtard.runs.visible import visible
from launcher.widgets.run_table import symbol, theme_style

BAR = 20  # cells


class RunDetail(Static):
    """The selected run: progress, accuracies, why it failed, end of the log."""

    _row: Summary | None = None
    _log: Sequence[str] = ()

    def show(self, row: Summary, log: Sequence[str]) -> None:
        """Show a run.

        Args:
            row: of the list.
            log: the last lines of its log.
        """
        self._row, self._log = row, log
        lines = [self._title(row), _progress(row), *_scores(row)]
        if row.note:
            lines.append(Text(visible(row.note), theme_style(self.app, "text-error")))
        room = max(0, self.size.height - len(lines))
        for line in log[-room:] if room else ():
            lines.append(Text(line, "dim"))
        self.update(Text("\n").join(lines))

    def on_resize(self) -> None:
        """Show as many lines of the log as fit."""
        if self._row is not None:
            self.show(self._row, self._log)

    def _title(self, row: Summary) -> Text:
        sign, colour = symbol(row.state)
        style = theme_style(self.app, colour) if colour else ""
        title = Text.assemble((visible(row.name), "bold"), "  ", (sign, style), " ")
        title.append(row.state, style)
        if row.state == "remote":
            title.append(f" on {visible(row.host)}: watch only", style)
        about = [row.data, row.method, row.network, row.seed and f"seed {row.seed}"]
        return title.append("  " + visible(", ".join(filter(None, about))), "dim")


def _progress(row: Summary) -> Text:
    text = Text()
    if row.done is not None:
        full = round(BAR * row.done)
        text.append("━" * full).append("━" * (BAR - full), "dim").append("  ")
    facts = [f"epoch {row.progress}" if row.done is not None else row.progress]
    facts += [f"worked {duration(row.seconds)}", f"started {day(row.created)}"]
    return text.append(visible(" · ".join(filter(None, facts))))


def _scores(row: Summary) -> list[Text]:
    lines = []
    if score := row.score:
        images = "test images" if score.epoch is None else f"epoch {score.epoch}"
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
