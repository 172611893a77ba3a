"""The cost of runs, and the findings of the diagnostics."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace

from kmtard.registry import label
from kmtard.report.section import Section
from kmtard.report.sections.cells import without_empty
from kmtard.report.source import Bench, Measured, Setting, Source, command
from kmtard.runs.formats import ABSENT, counted, duration, figure
from kmtard.runs.results import Cost
from kmtard.runs.tables import Table
from kmtard.runs.verdict import Verdict, verdict


def cost(source: Source) -> Section:
    """Return time, passes and memory of the trainings and the attacks."""
    tables = []
    missing = []
    for bench in source.benches:
        tables.append(_training(bench))
        if bench.attacks:
            tables.append(_attacks(bench))
        runs = [run for each in bench.settings for run in each.members]
        if not any(run.history.peak_memory for run in runs):
            recipe = str(runs[0].run.recipe_path)
            missing.append(
                f"{bench.title}: no run recorded its memory. "
                f"`{command('fit', recipe, '--dry-run')}` estimates it."
            )
    return Section("cost", "Cost", tables, missing)


def _training(bench: Bench) -> Table:
    header = ["method", "runs", "epochs", "s per epoch", "training", "whole run"]
    header += ["memory, GiB", "GPU memory, GiB"]
    rows = []
    for each in bench.settings:
        phases = [run.history.phases.get("student") for run in each.members]
        known = [phase for phase in phases if phase]
        seconds = [phase.epoch_seconds for phase in known if phase.epoch_seconds]
        trained = [
            run.student.seconds
            for run in each.members
            if run.student and run.student.seconds is not None
        ]
        whole = [run.history.seconds for run in each.members if run.history.seconds]
        done = sorted({phase.epoch for phase in known})
        rows.append(
            [
                *(each.label, str(len(each.members))),
                ", ".join(map(str, done)) or ABSENT,
                figure(statistics.mean(seconds)) if seconds else ABSENT,
                duration(statistics.mean(trained)) if trained else ABSENT,
                duration(statistics.mean(whole)) if whole else ABSENT,
                *(_gibibytes(each, place) for place in ("host", "device")),
            ]
        )
    header, rows = without_empty(header, rows, header[-2:])
    notes = [
        "Means over the runs. training: time to train the student. whole run: "
        "including the evaluation and any teachers trained in the run. memory: "
        "largest value of all runs."
    ]
    title = f"{bench.title}: training"
    return Table(header, rows, header[1:], title=title, notes=notes)


def _gibibytes(setting: Setting, place: str) -> str:
    found = [run.history.peak_memory.get(place) for run in setting.members]
    known = [each for each in found if each]
    return f"{max(known) / 2**30:.2f}" if known else ABSENT


def _attacks(bench: Bench) -> Table:
    header = ["attack", "runs", "forward", "backward", "queries", "seconds"]
    rows = []
    for attack in bench.attacks:
        costs = [
            score.cost
            for each in bench.settings
            for run in each.members
            if (score := run.scores.get(attack)) and score.cost
        ]
        cells = [ABSENT] * 4
        if costs:
            cells = [
                figure(statistics.mean(values))
                for values in zip(*map(_numbers, costs), strict=True)
            ]
        rows.append([label(attack), str(len(costs)), *cells])
    notes = [
        "Means over the runs. forward, backward, queries: passes and model queries per "
        "attacked image. seconds: total for one student, including compilation."
    ]
    title = f"{bench.title}: attacks"
    return Table(header, rows, header[1:], title=title, notes=notes)


def _numbers(cost: Cost) -> Sequence[float]:
    return cost.forwards, cost.backwards, cost.queries, cost.seconds


def diagnostics(source: Source) -> Section:
    """Return the verdicts, the findings behind them and the warnings of the runs."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for run in source.runs:
        for network in run.results.networks if run.results else ():
            for name, message in network.findings:
                # Equal messages of several runs become one row, with the first run.
                place = run.run.name
                found.setdefault((network.label, name, message), []).append(place)
        for message in run.history.warnings:
            found.setdefault(("run", "warning", message), []).append(run.run.name)
    verdicts = _verdicts(source)
    if not found:
        checked = sum(run.results is not None for run in source.runs)
        text = f"The diagnostics found no problem in {counted(checked, 'run')}."
        return Section(
            "diagnostics", "Diagnostics", [text, verdicts] if checked else []
        )
    rows = [
        [*about, runs[0] if len(runs) == 1 else f"{runs[0]} and {len(runs) - 1} more"]
        for about, runs in found.items()
    ]
    header = ["network", "diagnostic", "finding", "run"]
    first = [verdicts] if verdicts.rows else []
    return Section("diagnostics", "Diagnostics", [*first, Table(header, rows)])


def _verdicts(source: Source) -> Table:
    """Return whether the robust accuracy of each student may be quoted, and why not."""
    found: dict[Verdict, list[Measured]] = {}
    for run in source.runs:
        if run.student is not None:
            told = replace(verdict(run.student), reasons=())
            found.setdefault(told, []).append(run)
    rows = []
    for told, runs in found.items():
        todo = told.advice or ABSENT
        if told.attacks:
            attacks = ",".join(told.attacks)
            todo = command("evaluate", str(runs[0].run.path), "--attacks", attacks)
        others = f" and {len(runs) - 1} more" if len(runs) > 1 else ""
        rows.append([told.sentence, todo, f"{runs[0].run.name}{others}"])
    return Table(["verdict", "what to do", "run"], rows)
