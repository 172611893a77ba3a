"""The list of runs as lines: a study opens to its cells, a setting to its seeds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from kmtard.registry import label
from kmtard.runs.formats import (
    ABSENT,
    counted,
    day,
    duration,
    mean_and_deviation,
    radius_text,
)
from kmtard.runs.listing import (
    COLUMNS,
    Column,
    matches,
    ordered,
    progress_text,
    shown_text,
)
from kmtard.runs.phase import Accuracies
from kmtard.runs.query import read_query
from kmtard.runs.study_views import CellView, StudyView, state_of
from kmtard.runs.summary import Summary

IN_ORDER = "started"
"""The order in which the cells of a study stay as the study has them."""


@dataclass(frozen=True)
class Line:
    """One line of the list.

    Attributes:
        key: stays the same while the line changes.
        name: of the run, the setting or the study.
        state: of the run, or of all runs together.
        runs: the runs of the line, in order.
        total: how many runs it stands for, also those that have not begun.
        depth: how many lines contain it.
        is_open: whether its parts are listed below it; None without any parts.
        study: for the line of a study.
        cell: for the line of one cell of a study.
        seeds: of a setting; empty for others.
        method: of the setting or cell; empty for a study.
    """

    key: str
    name: str
    state: str
    runs: tuple[Summary, ...] = ()
    total: int = 1
    depth: int = 0
    is_open: bool | None = None
    study: StudyView | None = None
    cell: CellView | None = None
    seeds: tuple[int | str, ...] = ()
    method: str = ""

    @property
    def row(self) -> Summary | None:
        """The run of a line with one alone."""
        return self.runs[0] if self.is_open is None and self.runs else None


def outline(
    rows: Sequence[Summary],
    studies: Sequence[StudyView] = (),
    *,
    title: str = IN_ORDER,
    turned: bool = False,
    query: str = "",
    toggled: Collection[str] = (),
) -> list[Line]:
    """Return the lines of the list. A line with several runs ranks as its first one.

    Args:
        rows: all runs, newest first.
        studies: newest first.
        title: of the column that the runs are sorted by.
        turned: whether the order is reversed.
        query: words that a run must have, or its study.
        toggled: keys of the lines that are not as they begin: studies closed and
            settings open.
    """
    maker = _Maker(title, turned, query, toggled)
    of_studies = {
        cell.row.run.path for each in studies for cell in each.cells if cell.row
    }
    alone = [each for each in rows if each.run.path not in of_studies]
    found = [each for each in alone if not query or matches(each, query)]
    blocks = [maker.study(each) for each in studies]
    blocks += maker.settings([_Part.of_run(each) for each in found])
    shown = [each for each in blocks if each]
    # A study without runs has just been started.
    new = [block for block in shown if not block[0].runs]
    return [line for block in [*new, *maker.ordered(shown)] for line in block]


@dataclass(frozen=True)
class _Part:
    """A run, or a cell of a study."""

    key: str
    name: str
    state: str
    setting: str
    seed: int | str
    method: str
    row: Summary | None
    cell: CellView | None = None

    @classmethod
    def of_run(cls, row: Summary) -> _Part:
        return cls(
            key=str(row.run.path),
            name=row.name,
            state=row.state,
            setting=row.setting,
            seed=row.seed,
            method=row.method,
            row=row,
        )

    @classmethod
    def of_cell(cls, cell: CellView, study: StudyView) -> _Part:
        return cls(
            key=f"{study.folder.path}/{cell.name}",
            name=cell.name,
            state=cell.state,
            setting=cell.setting,
            seed=cell.seed,
            method=label(cell.method),
            row=cell.row,
            cell=cell,
        )


@dataclass(frozen=True)
class _Maker:
    title: str
    turned: bool
    query: str
    toggled: Collection[str]

    def study(self, study: StudyView) -> list[Line]:
        """Return a study's line and those below it; none if the filter hides it."""
        cells = [cell for cell in study.cells if self._shows(cell, study)]
        if self.query and not cells:
            return []
        runs = tuple(cell.row for cell in cells if cell.row is not None)
        key = str(study.folder.path)
        is_open = key in self.toggled
        head = Line(
            key=key,
            name=study.name,
            state=study.state,
            runs=tuple(ordered(runs, self.title, turned=self.turned)),
            total=len(cells),
            is_open=is_open,
            study=study,
        )
        if not is_open:
            return [head]
        parts = [_Part.of_cell(cell, study) for cell in cells]
        blocks = self.settings(parts, f"{key}#")
        if self.title != IN_ORDER:
            blocks = [*self.ordered(blocks), *(b for b in blocks if not b[0].runs)]
        below = [line for block in blocks for line in block]
        return [head, *(replace(line, depth=line.depth + 1) for line in below)]

    def settings(self, parts: Sequence[_Part], prefix: str = "#") -> list[list[Line]]:
        """Return a block of lines per setting: one run, or its line and its seeds'."""
        groups: dict[str, list[_Part]] = {}
        for part in parts:
            groups.setdefault(part.setting or part.key, []).append(part)
        blocks: list[list[Line]] = []
        for setting, group in groups.items():
            seeds = dict.fromkeys(part.seed for part in group)
            if len(seeds) > 1:
                blocks.append(self._setting(f"{prefix}{setting}", group, tuple(seeds)))
            else:
                blocks += [[_line(part)] for part in group]
        return blocks

    def ordered(self, blocks: Iterable[list[Line]]) -> list[list[Line]]:
        """Return the blocks that have runs, in the order of their first ones."""
        firsts: dict[int, list[list[Line]]] = {}
        rows: dict[int, Summary] = {}
        for block in blocks:
            if block[0].runs:
                first = block[0].runs[0]
                rows[id(first)] = first
                # Two studies may share their runs.
                firsts.setdefault(id(first), []).append(block)
        newest = sorted(rows.values(), key=lambda row: -row.created)
        ranked = ordered(newest, self.title, turned=self.turned)
        return [block for row in ranked for block in firsts[id(row)]]

    def _setting(
        self, key: str, group: Sequence[_Part], seeds: tuple[int | str, ...]
    ) -> list[Line]:
        runs = [part.row for part in group if part.row is not None]
        runs = ordered(runs, self.title, turned=self.turned)
        is_open = key not in self.toggled
        head = Line(
            key=key,
            name=_common_name(group),
            state=state_of(part.state for part in group),
            runs=tuple(runs),
            total=len(group),
            is_open=is_open,
            seeds=seeds,
            method=group[0].method,
        )
        if not is_open:
            return [head]
        place = {id(row): number for number, row in enumerate(runs)}
        if self.title != IN_ORDER or group[0].cell is None:
            group = sorted(group, key=lambda part: place.get(id(part.row), len(place)))
        return [head, *(_line(part, depth=1) for part in group)]

    def _shows(self, cell: CellView, study: StudyView) -> bool:
        if not self.query:
            return True
        if cell.row is not None:
            row = replace(cell.row, state=cell.state)
            return matches(row, self.query, f"{study.name} {cell.name}")
        texts = {"state": cell.state, "name": cell.name, "study": study.name}
        seed = float(cell.seed) if str(cell.seed).isdecimal() else None
        texts |= {"method": label(cell.method), "where": cell.where}
        return read_query(self.query).matches(texts, {"seed": seed})


def _line(part: _Part, depth: int = 0) -> Line:
    return Line(
        key=part.key,
        name=part.name,
        state=part.state,
        runs=(part.row,) if part.row is not None else (),
        depth=depth,
        cell=part.cell,
        method=part.method,
    )


def _common_name(group: Sequence[_Part]) -> str:
    """Return the name of a cell without its seed, or the method of runs."""
    if group[0].cell is not None:
        return group[0].name.rpartition(",s")[0] or group[0].name
    rows = [part.row for part in group if part.row is not None]
    data = rows[0].data if rows else ""
    return " ".join(filter(None, [group[0].method, data]))


def line_text(column: Column, line: Line) -> str:
    """Return the text of a column for a line; a dash if it has no value."""
    if column.title == "state":
        return line.state
    if column.title == "name":
        return line.name
    if line.row is not None:
        if line.cell is not None and column.title == "where":
            return line.cell.where or ABSENT
        return shown_text(column, line.row)
    if line.is_open is None and line.cell is not None:
        texts = {
            "method": line.method,
            "seed": str(line.cell.seed),
            "where": line.cell.where,
        }
        return texts.get(column.title) or ABSENT
    return _text_of_many(column, line)


def _text_of_many(column: Column, line: Line) -> str:
    title = column.title
    scores = _comparable(line)
    made: dict[str, Callable[[], str]] = {
        "method": lambda: line.method or _methods(line),
        "W-Robust": lambda: mean_and_deviation([each.w_robust for each in scores]),
        "clean": lambda: mean_and_deviation(
            [each.clean for each in scores if each.clean is not None]
        ),
        "robust": lambda: mean_and_deviation(
            [each.robust for each in scores if each.robust is not None]
        ),
        "epoch": lambda: f"{_finished(line)}/{line.total} runs",
        "left": lambda: _left(line),
        "progress": lambda: _progress(line),
        "trend": lambda: ABSENT,
        "tags": lambda: _shared(" ".join(row.notes.tags) for row in line.runs),
        "note": lambda: ABSENT,
        "time": lambda: duration(sum(row.seconds for row in line.runs)),
        "seed": lambda: ",".join(map(str, line.seeds)) or ABSENT,
        "of": lambda: scores[0].origin if scores else ABSENT,
        "radius": lambda: _shared(radius_text(row.epsilon) for row in line.runs),
        "data": lambda: _shared(row.data for row in line.runs),
        "started": lambda: day(min((row.created for row in line.runs), default=0)),
        "attack": lambda: _shared(each.attack for each in scores),
        "where": lambda: _shared(row.where for row in line.runs),
    }
    return made[title]()


def _comparable(line: Line) -> list[Accuracies]:
    """Return what can be averaged: one setting, one attack, on the test images."""
    if not line.seeds:
        return []
    scores = [row.score for row in line.runs if row.score and row.score.epoch is None]
    tested = [row for row in line.runs if row.score and row.score.epoch is None]
    alike = {(row.epsilon, row.score.attack) for row in tested if row.score}
    return scores if len(alike) == 1 else []


def _finished(line: Line) -> int:
    return sum(row.state == "finished" for row in line.runs)


def _left(line: Line) -> str:
    """Return the time left of the run that ends last."""
    known = [row for row in line.runs if row.seconds_left is not None]
    return max(known, key=lambda row: row.seconds_left or 0.0).left if known else ABSENT


def _progress(line: Line) -> str:
    """Return the mean progress of all runs, also of those that have not begun."""
    if not line.runs or any(row.fraction is None for row in line.runs):
        return ABSENT
    return progress_text(sum(row.fraction or 0.0 for row in line.runs) / line.total)


def _methods(line: Line) -> str:
    cells = line.study.cells if line.study else ()
    methods = {cell.method for cell in cells}
    return counted(len(methods), "method") if methods else ABSENT


def _shared(texts: Iterable[str]) -> str:
    found = set(texts)
    return (found.pop() or ABSENT) if len(found) == 1 else ABSENT


def settings_lines(study: StudyView) -> list[Line]:
    """Return one line per setting of a study, in its own order.

    Those with one seed have the accuracies of their only run.
    """
    maker = _Maker(IN_ORDER, False, "", ())
    parts = [_Part.of_cell(cell, study) for cell in study.cells]
    return [block[0] for block in maker.settings(parts)]


def column_texts(line: Line) -> dict[str, str]:
    """Return the text of each column by its title."""
    return {column.title: line_text(column, line) for column in COLUMNS}
