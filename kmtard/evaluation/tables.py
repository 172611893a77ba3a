"""An evaluation as a table: on the terminal, in Markdown, in LaTeX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from kmtard.runs.results import CLEAN, Results, Score

HEADINGS = (
    *("attack", "robust", "95 %", "W-Robust", "fooled", "worst"),
    *("queries", "forward", "back", "s"),
)
LEGEND = (
    "Accuracies in %; 95 %: Wilson interval; W-Robust: half clean, half under the "
    "attack of the row; worst: the class of the lowest accuracy; queries, forward and "
    "backward passes: mean of the attacked images."
)
SHOWN_SETTINGS = ("epsilon", "step_size", "steps", "queries", "norm")
LATEX_ESCAPES = str.maketrans({c: f"\\{c}" for c in "%_&#$"})


def terminal(results: Results) -> Table:
    """Return a table for rich, the warnings left out."""
    notes = "\n".join([LEGEND, *captions(results)])
    table = Table(title=title(results), caption=notes, caption_justify="left")
    table.add_column(HEADINGS[0], no_wrap=True)
    for heading in HEADINGS[1:]:
        # What does not fit is folded and not cut off.
        table.add_column(heading, justify="right", overflow="fold")
    for row in rows(results):
        table.add_row(*row)
    return table


def markdown(results: Results) -> str:
    """Return the table, its settings and the warnings in Markdown."""
    rule = ["---", *("---:" for _ in HEADINGS[1:])]
    lines = [_line(cells) for cells in (HEADINGS, rule, *rows(results))]
    notes = [LEGEND, "", *(f"- {text}" for text in captions(results))]
    warnings = [
        f"- **{each.name}**: {each.message}" for each in results.student.findings
    ]
    parts = [[f"{title(results)}:"], lines, notes]
    if warnings:
        parts += [["Warnings:"], warnings]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def latex(results: Results) -> str:
    """Return a `tabular` for booktabs; title, settings and warnings are comments."""
    head, *body = (
        " & ".join(cell.translate(LATEX_ESCAPES) for cell in cells) + r" \\"
        for cells in (HEADINGS, *rows(results))
    )
    notes = [title(results), LEGEND, *captions(results)]
    notes += [
        f"warning: {each.name}: {each.message}" for each in results.student.findings
    ]
    lines = [
        *(f"% {line}" for note in notes for line in note.splitlines()),
        rf"\begin{{tabular}}{{l{'r' * (len(HEADINGS) - 1)}}}",
        *(r"\toprule", head, r"\midrule", *body, r"\bottomrule"),
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def title(results: Results) -> str:
    """Return what was evaluated on what."""
    return f"{results.student.name} on {results.images} images of {results.data}"


def captions(results: Results) -> list[str]:
    """Return one line per attack with its settings, and the W-Robust accuracy."""
    lines = []
    for name, score in results.student.attacks.items():
        lines.append(settings_line(name, score))
        if score.stages and results.images:
            left = score.stages.items()
            after = ", ".join(f"{k} {percent(n / results.images)}" for k, n in left)
            lines.append(f"{name} after {after}")
    w_robust = results.student.w_robust
    if w_robust is not None:
        lines.append(f"W-Robust, against {results.headline}: {percent(w_robust)}")
    return lines


def settings_line(name: str, score: Score) -> str:
    """Return an attack's name and what its strength rests on."""
    settings = score.settings or {}
    found = {**_shown(settings.get("attack")), **_shown(settings)}
    shown = ", ".join(f"{key} {_short(found[key])}" for key in found)
    return f"{name}: {shown}" if shown else name


def rows(results: Results) -> list[tuple[str, ...]]:
    """Return the cells of the table: clean, one row per attack, worst case."""
    clean = results.student.clean
    return [_row(clean, *item) for item in results.student.columns.items()]


def _row(clean: Score, name: str, score: Score) -> tuple[str, ...]:
    interval, worst, cost = score.interval, score.worst_class, score.cost
    fooled = ""
    if name != CLEAN and clean.correct is not None and score.correct is not None:
        fooled = str(clean.correct - score.correct)
    costs: tuple[str, ...] = ("", "", "", "")
    if cost:
        figures = (cost.queries, cost.forwards, cost.backwards, cost.seconds)
        costs = tuple(map(_figure, figures))
    return (
        name,
        percent(score.accuracy),
        f"{100 * interval[0]:.1f}-{100 * interval[1]:.1f}" if interval else "",
        "" if score.w_robust is None else percent(score.w_robust),
        fooled,
        f"{100 * worst[1]:.1f} ({worst[0]})" if worst else "",
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
