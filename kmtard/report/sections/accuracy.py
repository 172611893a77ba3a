"""Accuracies in the form of the paper's tables, next to the paper's numbers."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from kmtard.registry import label
from kmtard.registry.roles import LABELS, TEACHERS
from kmtard.report import paper
from kmtard.report.section import Section
from kmtard.report.sections.cells import (
    beside,
    explanations,
    headings,
    odd_note,
    without_empty,
)
from kmtard.report.source import CLEAN, Bench, Setting, Source, command
from kmtard.runs.formats import ABSENT, mean_and_deviation, radius_text
from kmtard.runs.tables import Table

WHITE_BOX = ("fgsm", "pgd_sat", "pgd_trades", "cw_inf", "autoattack")
BLACK_BOX = ("transfer_pgd_trades", "transfer_cw_inf", "square_100", "rays_100")
GE = "ge"
METRICS = ("clean", "robust", "W-Robust")
SUITE = "`kmtard evaluate RUN --suite paper` runs all attacks of the paper."


def summary(source: Source) -> Section:
    """Return the accuracies of each row under the headline attack, best first."""
    tables = [_summary(bench) for bench in source.benches if bench.evaluated]
    missing = [
        f"{name} was not evaluated: {_how(source, name)}"
        for name in (run.run.name for run in source.runs if run.results is None)
    ]
    return Section("summary", "Accuracy", tables, [*source.gaps, *missing])


def _how(source: Source, name: str) -> str:
    run = next(each for each in source.runs if each.run.name == name)
    path = str(run.run.path)
    if run.state in ("running", "remote"):
        return "it has not finished."
    if run.state == "finished":
        return f"`{command('evaluate', path)}` evaluates it."
    return f"`{command('fit', '--resume', path)}` continues it."


def _summary(bench: Bench) -> Table:
    header = ["method", "runs", "radius", *METRICS, "W-Robust, paper", "W-Robust, Δ"]
    header += ["attack", "tags"]
    rows = []
    notes: list[str] = []
    for each in sorted(bench.evaluated, key=_mean_w_robust, reverse=True):
        headline = each.headline or ""
        number = each.paper(bench, headline, "w_robust")
        notes += odd_note(f"{each.label}, {label(headline)}", number)
        rows.append(
            [
                each.label,
                str(len(each.shares(CLEAN))),
                radius_text(each.epsilon) or ABSENT,
                mean_and_deviation(each.shares(CLEAN)),
                mean_and_deviation(each.shares(headline)),
                *beside(each.shares(headline, "w_robust"), number),
                label(headline) if headline else ABSENT,
                " ".join(each.tags) or ABSENT,
            ]
        )
    header, rows = without_empty(header, rows, [*header[-4:-2], "tags"])
    numbers = set(header) - {"method", "attack", "tags"}
    notes = [*explanations(header), *notes]
    return Table(header, rows, numbers, title=bench.title, notes=notes)


def _mean_w_robust(setting: Setting) -> float:
    return statistics.mean(setting.w_robust or [-1.0])


def white_box(source: Source) -> Section:
    """Return the table in the form of the paper's Tables 3 and 4."""
    title = "White-box robustness (form of Tables 3 and 4)"
    return _attacked(source, "white-box", title, "white_box", _is_white)


def black_box(source: Source) -> Section:
    """Return the table in the form of the paper's Tables 5 and 6."""
    title = "Black-box robustness (form of Tables 5 and 6)"
    return _attacked(source, "black-box", title, "black_box", BLACK_BOX.__contains__)


def _is_white(attack: str) -> bool:
    return attack not in BLACK_BOX and attack != GE


def _attacked(
    source: Source, name: str, title: str, part: str, belongs: Callable[[str], bool]
) -> Section:
    tables, missing = [], []
    for bench in source.benches:
        if not bench.evaluated:
            continue
        printed = paper.attacks(part, bench.data, bench.student)
        found = [each for each in bench.attacks if belongs(each)]
        usual = WHITE_BOX if part == "white_box" else BLACK_BOX
        order = [each for each in usual if each in (*printed, *found)]
        attacks = list(dict.fromkeys((*order, *found)))
        if attacks:
            tables.append(_comparison(bench, part, attacks))
        absent = [label(each) for each in usual if each not in attacks]
        if absent:
            missing.append(f"{bench.title}: not measured: {', '.join(absent)}. {SUITE}")
    return Section(name, title, tables, missing)


def _comparison(bench: Bench, part: str, attacks: Sequence[str]) -> Table:
    header = ["attack", "method", "runs", *(h for m in METRICS for h in headings(m))]
    header += ["command"]
    rows: list[list[str]] = []
    notes: list[str] = []
    for attack in attacks:
        for method, setting in _entries(bench, part):
            numbers = [
                setting.paper(bench, attack, metric)
                if setting
                else paper.number(bench.data, bench.student, method, attack, metric)
                for metric in paper.METRICS
            ]
            shares: list[list[float]] = [[], [], []]
            if setting and setting.shares(attack):
                # W-Robust is the mean of clean and robust accuracy of the same runs.
                runs = setting.having(attack)
                shares = [
                    runs.shares(CLEAN),
                    runs.shares(attack),
                    runs.shares(attack, "w_robust"),
                ]
            name = setting.label if setting else label(method)
            rows.append(
                [
                    *(
                        label(attack),
                        name,
                        str(len(shares[1])) if shares[1] else ABSENT,
                    ),
                    *(
                        cell
                        for pair in zip(shares, numbers, strict=True)
                        for cell in beside(*pair)
                    ),
                    _to_fill(bench, method, setting, attack),
                ]
            )
            notes += odd_note(f"{name}, {label(attack)}", numbers[-1])
    droppable = [each for each in header if ", " in each] + ["command"]
    header, rows = without_empty(header, rows, droppable)
    notes = [*explanations(header), *notes]
    if "command" in header:
        notes.append("command: measures the empty cells of the row.")
    words = {"attack", "method", "command"}
    return Table(
        header,
        rows,
        set(header) - words,
        title=bench.title,
        notes=notes,
        code=["command"],
    )


def _entries(bench: Bench, part: str) -> list[tuple[str, Setting | None]]:
    """Return the methods in the paper's table, then the other methods of the runs."""
    printed = paper.methods(part, bench.data, bench.student)
    ours = bench.evaluated
    found: list[tuple[str, Setting | None]] = []
    for method in printed:
        mine = [each for each in ours if each.method == method]
        found += [(method, each) for each in mine] or [(method, None)]
    return found + [(each.method, each) for each in ours if each.method not in printed]


def _to_fill(bench: Bench, method: str, setting: Setting | None, attack: str) -> str:
    """Return the command that measures a cell; a dash if it is measured."""
    if setting is None:
        return bench.fit_command(method)
    without = [run for run in setting.members if attack not in run.scores]
    if not without:
        return ABSENT
    path = str(without[0].run.path)
    more = f" (and {len(without) - 1} more)" if without[1:] else ""
    return command("evaluate", path, "--attacks", attack) + more


def estimated_gradients(source: Source) -> Section:
    """Return the accuracies under PGD and gradient estimation (Table 9)."""
    tables, missing = [], []
    for bench in source.benches:
        measured = [each for each in bench.evaluated if each.shares(GE)]
        is_printed = (bench.data, bench.student) in paper.benches() and any(
            each.method == "b_mtard" for each in bench.evaluated
        )
        if measured or is_printed:
            tables.append(_estimation(bench))
        elif bench.evaluated:
            path = str(bench.evaluated[0].members[0].run.path)
            how = command("evaluate", path, "--attacks", GE)
            missing.append(f"{bench.title}: not measured. `{how}` measures it.")
    return Section("ge", "Gradient estimation (form of Table 9)", tables, missing)


def _estimation(bench: Bench) -> Table:
    attacks = ("pgd_trades", GE)
    header = ["method", *(h for each in attacks for h in headings(label(each)))]
    header += ["command"]
    rows = []
    for each in bench.evaluated:
        cells = [
            cell
            for attack in attacks
            for cell in beside(each.shares(attack), each.paper(bench, attack, "robust"))
        ]
        rows.append([each.label, *cells, _to_fill(bench, each.method, each, GE)])
    droppable = [each for each in header if ", " in each] + ["command"]
    header, rows = without_empty(header, rows, droppable)
    notes = [
        "Robust accuracy.",
        *explanations(header),
        "If the model hid its gradients, the estimated gradients would be stronger.",
    ]
    words = {"method", "command"}
    return Table(
        header,
        rows,
        set(header) - words,
        title=bench.title,
        notes=notes,
        code=["command"],
    )


def teachers(source: Source) -> Section:
    """Return the teachers' accuracies, as in the paper's Table 2."""
    tables, missing = [], []
    for bench in source.benches:
        rows, columns = _teacher_rows(bench)
        header = [
            "teacher",
            "network",
            *(h for each in columns for h in headings(each)),
        ]
        if rows:
            droppable = [each for each in header if ", " in each]
            header, rows = without_empty(header, rows, droppable)
            table = Table(
                header,
                rows,
                set(header) - {"teacher", "network"},
                title=bench.title,
                notes=explanations(header),
            )
            tables.append(table)
        elif bench.evaluated:
            missing.append(
                f"{bench.title}: the runs have no results for teachers. A run that "
                "distills evaluates its teachers at the end."
            )
    return Section("teachers", "Teachers (form of Table 2)", tables, missing)


def _teacher_rows(bench: Bench) -> tuple[list[list[str]], list[str]]:
    found: dict[tuple[str, str], dict[str, dict[str, float]]] = {}
    columns: dict[str, None] = {}
    for run in (run for each in bench.evaluated for run in each.members):
        for network in run.results.networks if run.results else ():
            if network.role not in TEACHERS:
                continue
            about = network.role, run.settings.get(f"{network.role}.network", ABSENT)
            scores = {CLEAN: network.clean, **network.attacks}
            columns.update(dict.fromkeys(scores))
            # A teacher that several runs share counts once.
            key = network.weights or f"seed {run.seed}"
            shares = {name: score.accuracy for name, score in scores.items()}
            found.setdefault(about, {}).setdefault(key, {}).update(shares)
    rows = []
    for (role, network_name), copies in found.items():
        cells = []
        for column in columns:
            values = [each[column] for each in copies.values() if column in each]
            number = paper.teacher_number(bench.data, network_name, role, column)
            cells += beside(values, number if _at_paper_radius(bench) else None)
        rows.append([LABELS[role], network_name, *cells])
    return rows, [label(name) if name != CLEAN else name for name in columns]


def _at_paper_radius(bench: Bench) -> bool:
    radii = {each.epsilon for each in bench.evaluated}
    return all(each is not None and abs(each - paper.EPSILON) < 1e-4 for each in radii)
