"""An evaluation as a table: on the terminal, in Markdown, in LaTeX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from kmtard.evaluation.result import CLEAN, Column, Evaluation
from kmtard.evaluation.statistics import w_robust

HEADINGS = (
    *("attack", "robust", "95 %", "W-Robust", "fooled", "worst"),
    *("queries", "forward", "back", "s"),
)
LEGEND = (
    "Accuracies in %; 95 %: Wilson interval; worst: the class of the lowest accuracy; "
    "queries, forward and backward passes: mean of the attacked images."
)
SHOWN_SETTINGS = ("epsilon", "step_size", "steps", "queries", "norm")
LATEX_ESCAPES = str.maketrans({c: f"\\{c}" for c in "%_&#$"})


def terminal(evaluation: Evaluation) -> Table:
    """Return a table for rich, the warnings left out."""
    notes = "\n".join([LEGEND, *captions(evaluation)])
    table = Table(title=title(evaluation), caption=notes, caption_justify="left")
    table.add_column(HEADINGS[0], no_wrap=True)
    for heading in HEADINGS[1:]:
        # What does not fit is folded and not cut off.
        table.add_column(heading, justify="right", overflow="fold")
    for row in rows(evaluation):
        table.add_row(*row)
    return table


def markdown(evaluation: Evaluation) -> str:
    """Return the table, its settings and the warnings in Markdown."""
    rule = ["---", *("---:" for _ in HEADINGS[1:])]
    lines = [_line(cells) for cells in (HEADINGS, rule, *rows(evaluation))]
    notes = [LEGEND, "", *(f"- {text}" for text in captions(evaluation))]
    warnings = [f"- **{each.name}**: {each.message}" for each in evaluation.findings]
    parts = [[f"{title(evaluation)}:"], lines, notes]
    if warnings:
        parts += [["Warnings:"], warnings]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def latex(evaluation: Evaluation) -> str:
    """Return a `tabular` for booktabs; title, settings and warnings are comments."""
    head, *body = (
        " & ".join(cell.translate(LATEX_ESCAPES) for cell in cells) + r" \\"
        for cells in (HEADINGS, *rows(evaluation))
    )
    notes = [title(evaluation), LEGEND, *captions(evaluation)]
    notes += [f"warning: {each.name}: {each.message}" for each in evaluation.findings]
    lines = [
        *(f"% {line}" for note in notes for line in note.splitlines()),
        rf"\begin{{tabular}}{{l{'r' * (len(HEADINGS) - 1)}}}",
        *(r"\toprule", head, r"\midrule", *body, r"\bottomrule"),
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def title(evaluation: Evaluation) -> str:
    """Return what was judged on what."""
    return f"{evaluation.model} on {evaluation.images} images of {evaluation.data}"


def captions(evaluation: Evaluation) -> list[str]:
    """Return one line an attack: its settings."""
    lines = []
    for name, column in evaluation.attacks.items():
        found = {**_shown(column.settings.get("attack")), **_shown(column.settings)}
        settings = ", ".join(f"{key} {_short(found[key])}" for key in found)
        lines.append(f"{name}: {settings}" if settings else name)
        if column.stages:
            left = column.stages.items()
            after = ", ".join(f"{k} {percent(n / evaluation.images)}" for k, n in left)
            lines.append(f"{name} after {after}")
    return lines


def rows(evaluation: Evaluation) -> list[tuple[str, ...]]:
    """Return the cells of the table, a row an attack, clean first, worst case last."""
    return [_row(evaluation, *item) for item in evaluation.columns.items()]


def _row(evaluation: Evaluation, name: str, column: Column) -> tuple[str, ...]:
    label, worst = column.worst_class(evaluation.labels)
    low, high = column.interval
    cost = column.cost
    compared = ("", "")
    if name != CLEAN:
        weighted = w_robust(evaluation.clean_accuracy, column.accuracy)
        fooled = evaluation.clean.correct - column.correct
        compared = (percent(weighted), str(fooled))
    costs: tuple[str, ...] = ("", "", "", "")
    if cost:
        figures = (cost.queries, cost.forwards, cost.backwards, cost.seconds)
        costs = tuple(map(_figure, figures))
    return (
        name,
        percent(column.accuracy),
        f"{100 * low:.1f}-{100 * high:.1f}",
        *compared,
        f"{100 * worst:.1f} ({label})",
        *costs,
    )


def percent(share: float) -> str:
    """Return a share in [0, 1] as points, two decimals."""
    return f"{100 * share:.2f}"


def _shown(settings: Any) -> Mapping[str, Any]:
    if not isinstance(settings, Mapping):
        return {}
    settings = settings.get("config", settings)
    return {key: settings[key] for key in SHOWN_SETTINGS if key in settings}


def _figure(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
