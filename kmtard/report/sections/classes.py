"""Accuracy per class, and confusion matrices."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence

from kmtard.registry import label
from kmtard.report.drawings import Grid, Grids
from kmtard.report.section import Section
from kmtard.report.source import CLEAN, Bench, Measured, Setting, Source, command
from kmtard.runs.formats import ABSENT, mean_and_deviation
from kmtard.runs.tables import Table

MOST_CLASSES = 20
"""With more classes, tables of the worst ones replace the drawings."""

WORST = 10


def per_class(source: Source) -> Section:
    """Return clean and robust accuracy per class, and the worst classes."""
    blocks: list[Grids | Table] = []
    missing = []
    for bench in source.benches:
        columns = [each for each in (CLEAN, bench.headline) if each]
        rows = [each for each in bench.evaluated if _detailed(each, columns)]
        if not rows:
            missing += _command(bench)
            continue
        classes = sorted({one for each in rows for one in _labels(each)})
        if len(classes) <= MOST_CLASSES:
            grids = [_grid(rows, column, classes) for column in columns]
            text = f"{bench.title}: accuracy per class in %, mean over the seeds."
            blocks.append(Grids(grids=grids, caption=text))
        blocks.append(_worst(bench, rows, columns, classes))
    return Section("classes", "Accuracy per class", blocks, missing)


def _detailed(setting: Setting, columns: Sequence[str]) -> list[Measured]:
    """Return the runs that have an outcome per image in each column."""
    return [
        run
        for run in setting.members
        if run.results
        and run.results.labels
        and all(
            column in run.scores
            and len(run.scores[column].robust) == len(run.results.labels)
            for column in columns
        )
    ]


def _command(bench: Bench) -> list[str]:
    if not bench.evaluated:
        return []
    path = str(bench.evaluated[0].members[0].run.path)
    return [
        f"{bench.title}: the record has no outcome per image. "
        f"`{command('evaluate', path)}` writes them."
    ]


def _labels(setting: Setting) -> set[int]:
    return {one for run in setting.members if run.results for one in run.results.labels}


def _accuracy(run: Measured, column: str) -> dict[int, float]:
    """Return label -> accuracy in [0, 1]."""
    return run.results.by_class(run.scores[column]) if run.results else {}


def _grid(rows: Sequence[Setting], column: str, classes: Sequence[int]) -> Grid:
    values = []
    for each in rows:
        found = [_accuracy(run, column) for run in _detailed(each, [column])]
        values.append([_mean([one[c] for one in found if c in one]) for c in classes])
    title = "clean" if column == CLEAN else f"under {label(column)}"
    names = [each.label for each in rows]
    return Grid(title, names, list(map(str, classes)), values, "class")


def _mean(shares: Sequence[float]) -> float | None:
    return 100 * statistics.mean(shares) if shares else None


def _worst(
    bench: Bench,
    rows: Sequence[Setting],
    columns: Sequence[str],
    classes: Sequence[int],
) -> Table:
    header = ["method"]
    for column in columns:
        name = "clean" if column == CLEAN else label(column)
        header += [f"{name}: worst class", f"{name}: its label", f"{name}: mean"]
        if len(classes) > MOST_CLASSES:
            header.append(f"{name}: {WORST} worst labels")
    lines = []
    for each in rows:
        line = [each.label]
        for column in columns:
            found = [_accuracy(run, column) for run in _detailed(each, columns)]
            worst = [
                min(one.items(), key=lambda item: (item[1], item[0])) for one in found
            ]
            names = sorted({one for one, _ in worst})
            line += [
                mean_and_deviation([share for _, share in worst]),
                ", ".join(map(str, names)),
                mean_and_deviation([statistics.mean(one.values()) for one in found]),
            ]
            if len(classes) > MOST_CLASSES:
                means = {
                    c: _mean([one[c] for one in found if c in one]) for c in classes
                }
                known = [(v, c) for c, v in means.items() if v is not None]
                line.append(", ".join(str(c) for _, c in sorted(known)[:WORST]))
        lines.append(line)
    return Table(
        header,
        lines,
        set(header[1:]),
        title=f"{bench.title}: the class with the lowest accuracy",
        notes=[
            "%; mean ± standard deviation over the seeds. mean: mean over the classes."
        ],
    )


def confusions(source: Source) -> Section:
    """Return the predictions for clean and adversarial images of each class."""
    blocks: list[Grids | Table] = []
    missing = []
    for bench, setting in source.settings:
        attack = setting.headline
        if attack is None or setting not in bench.evaluated:
            continue
        runs = [run for run in setting.members if _predicted(run, attack)]
        if not runs:
            path = str(setting.members[0].run.path)
            missing.append(
                f"{bench.title}, {setting.label}: the record has no predictions. "
                f"`{command('evaluate', path)}` writes them."
            )
            continue
        counts = {column: _counts(runs, column) for column in (CLEAN, attack)}
        classes = sorted(
            {one for found in counts.values() for pair in found for one in pair}
        )
        name = f"{bench.title}, {setting.label}"
        if len(classes) <= MOST_CLASSES:
            count = f"{len(runs)} seed{'s' if len(runs) > 1 else ''}"
            names = list(map(str, classes))
            blocks.append(matrices(name, counts, classes, names, note=count))
        else:
            blocks.append(frequent(name, counts))
    return Section("confusion", "Confusion", blocks, missing)


def _predicted(run: Measured, attack: str) -> bool:
    labels = run.results.labels if run.results else ()
    return bool(labels) and all(
        column in run.scores and len(run.scores[column].predictions) == len(labels)
        for column in (CLEAN, attack)
    )


def _counts(runs: Sequence[Measured], column: str) -> Counter[tuple[int, int]]:
    """Return (label, prediction) -> number of images, summed over the seeds."""
    found: Counter[tuple[int, int]] = Counter()
    for run in runs:
        if run.results:
            found.update(run.results.confusion(run.scores[column]))
    return found


def matrices(
    name: str,
    counts: Mapping[str, Counter[tuple[int, int]]],
    classes: Sequence[int],
    names: Sequence[str],
    *,
    note: str = "",
) -> Grids:
    """Return one confusion matrix per column, side by side.

    Args:
        name: beginning of the caption.
        counts: column -> (label, prediction) -> number of images.
        classes: the classes.
        names: their names.
        note: what else the caption says about the values.
    """
    grids = []
    for column, found in counts.items():
        values = []
        for one in classes:
            total = sum(found[one, other] for other in classes)
            row = [
                100 * found[one, other] / total if total else None for other in classes
            ]
            values.append(row)
        title = "clean images" if column == CLEAN else f"images of {label(column)}"
        grids.append(Grid(title, names, names, values, "prediction", "label"))
    caption = (
        f"{name}: share of each class in %{f', {note}' if note else ''}. "
        "An image that is misclassified without an attack is not attacked and keeps "
        "its prediction."
    )
    return Grids(grids=grids, caption=caption, is_beside=True)


def frequent(
    name: str,
    counts: Mapping[str, Counter[tuple[int, int]]],
    names: Sequence[str] = (),
) -> Table:
    """Return the most frequent confusions of each column.

    Args:
        name: beginning of the title.
        counts: column -> (label, prediction) -> number of images.
        names: names of class 0, 1 and so on; empty if unknown.
    """

    def shown(one: int) -> str:
        return names[one] if 0 <= one < len(names) else str(one)

    header, columns = [], []
    for column, found in counts.items():
        wrong = Counter({pair: n for pair, n in found.items() if pair[0] != pair[1]})
        title = "clean" if column == CLEAN else label(column)
        header += [f"{title}: label → prediction", f"{title}: images"]
        rows = wrong.most_common(WORST)
        pairs = [(shown(one), shown(other), n) for (one, other), n in rows]
        columns.append([(f"{one} → {other}", str(n)) for one, other, n in pairs])
    lines = []
    for place in range(max(map(len, columns))):
        cells = [
            found[place] if place < len(found) else (ABSENT, ABSENT)
            for found in columns
        ]
        lines.append([cell for pair in cells for cell in pair])
    numbers = set(header[1::2])
    return Table(header, lines, numbers, title=f"{name}: most frequent confusions")
