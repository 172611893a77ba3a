"""The name, state and progress of a run, in two lines."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.text import Text
from textual.widgets import Static

from kmtard.runs.formats import duration
from kmtard.runs.history import History
from kmtard.runs.listing import progress_text
from kmtard.runs.summary import DAMAGED, Summary
from kmtard.runs.visible import visible
from launcher.widgets.run_table import symbol, theme_style

BAR = 16  # cells


class RunHeader(Static):
    """The name, state and progress of a run."""

    def show(self, run: Summary, history: History) -> None:
        """Show a run."""
        sign, colour = symbol(run.state)
        style = theme_style(self.app, colour) if colour else ""
        first = Text.assemble((visible(run.name), "bold"), "  ")
        if run.state:
            first.append(f"{sign} {run.state}", style)
        if run.state == "remote":
            first.append(f", on {visible(run.host)}: watch only", style)
        about = " · ".join(filter(None, (run.data, run.method, run.network)))
        first.append("  " + visible(about), "dim")
        second = self._progress(history, run.state == "running")
        self.update(Text("\n").join([first, second]))

    def show_reading(self, name: str, share: float) -> None:
        """Show how much of a long file has been read."""
        text = Text.assemble((visible(name), "bold"), f"\nreading {100 * share:.0f} %")
        self.update(text)

    def _progress(self, history: History, is_running: bool) -> Text:
        progress = history.progress(time.time() if is_running else None)
        text = Text()
        is_compiling = is_running and progress.is_compiling
        if progress.fraction is not None and not is_compiling:
            text.append(f"{progress_text(progress.fraction, BAR)}  ")
        facts = progress.facts(is_running=is_running)
        facts.append(f"worked {duration(history.seconds)}")
        return text.append(visible(" · ".join(facts)))


class RunBanner(Static):
    """What is wrong with a run; hidden if nothing is."""

    def show(self, run: Summary, history: History, log: Sequence[str]) -> None:
        """Show what is wrong.

        Args:
            run: its summary.
            history: its events.
            log: the last lines of its log.
        """
        lines = _troubles(run, history, log)
        self.display = bool(lines)
        self.update(Text("\n").join(Text(visible(line)) for line in lines))


def _troubles(run: Summary, history: History, log: Sequence[str]) -> Sequence[str]:
    lines = [run.note] if run.state == DAMAGED else []
    if history.error:
        lines.append(history.error)
    if run.state == "failed":
        lines.append(f"Failed: {history.reason or 'no reason was given.'}")
    if run.state == "crashed":
        lines.append(
            "Crashed: its process ended without a final event. The log ends with:"
        )
        lines += log or ["(no log)"]
    if history.skipped:
        lines.append(f"{history.skipped} lines of events.jsonl are not events.")
    if run.state == "running":
        lines += history.usage.warnings()
    if history.warnings:
        lines.append(f"Warning: {history.warnings[-1]}")
    return lines
