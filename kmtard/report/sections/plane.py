"""Clean against robust accuracy, and robust accuracy against the radius."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from kmtard.registry import label
from kmtard.report.drawings import Curve, Curves, Panel, Plane, Point
from kmtard.report.section import Section
from kmtard.report.source import CLEAN, Bench, Setting, Source, command
from kmtard.runs.formats import radius_text
from kmtard.runs.results import Results


def plane(source: Source) -> Section:
    """Return clean against robust accuracy, with lines of equal W-Robust accuracy."""
    drawings = [
        _plane(bench, attack) for bench in source.benches if (attack := bench.headline)
    ]
    return Section("plane", "Clean and robust accuracy", drawings)


def _plane(bench: Bench, attack: str) -> Plane:
    points = []
    for each in bench.evaluated:
        look = bench.look(each)
        clean, robust = each.shares(CLEAN), each.shares(attack)
        if robust:
            (x, dx), (y, dy) = map(_percent, (clean, robust))
            points.append(Point(each.label, x, y, dx, dy, look))
        numbers = [each.paper(bench, attack, name) for name in ("clean", "robust")]
        if numbers[0] and numbers[1]:
            x, y = numbers[0].value, numbers[1].value
            name = f"{each.label}, paper"
            points.append(Point(name, x, y, look=look, is_paper=True))
    return Plane(
        points=points,
        y_label=f"accuracy under {label(attack)}, %",
        caption=f"{bench.title}: each dashed line joins points of equal W-Robust "
        "accuracy, written on it in %. Error bars: standard deviation over the seeds. "
        "Hollow markers: the paper's numbers.",
    )


def _percent(shares: Sequence[float]) -> tuple[float, float]:
    spread = statistics.stdev(shares) if len(shares) > 1 else 0.0
    return 100 * statistics.mean(shares), 100 * spread


def radii(source: Source) -> Section:
    """Return robust accuracy over the radius, if it was measured at several radii."""
    drawings, missing = [], []
    for bench in source.benches:
        panels = _panels(bench)
        if panels:
            drawings.append(
                Curves(
                    panels=panels,
                    caption=f"{bench.title}: robust accuracy over the radius of the "
                    "attack. Radius 0 is clean accuracy. Bands: standard deviation "
                    "over the seeds.",
                )
            )
        elif bench.headline:
            path = str(bench.evaluated[0].members[0].run.path)
            twice = radius_text(2 * (bench.evaluated[0].epsilon or 8 / 255))
            words = ("--attacks", bench.headline, "--epsilon", twice)
            missing.append(
                f"{bench.title}: each attack was run at one radius only. "
                f"`{command('evaluate', path, *words)}` adds another one."
            )
    return Section("radii", "Robust accuracy over epsilon", drawings, missing)


def _panels(bench: Bench) -> list[Panel]:
    panels = []
    for attack in bench.attacks:
        curves = []
        for each in bench.evaluated:
            found = _by_radius(each, attack)
            if len(found) > 2:
                pairs = [_percent(found[radius]) for radius in sorted(found)]
                means, spreads = zip(*pairs, strict=True)
                curve = Curve(
                    each.label, sorted(found), means, spreads, bench.look(each)
                )
                curves.append(curve)
        if curves:
            panels.append(
                Panel(f"accuracy under {label(attack)}, %", curves, "epsilon")
            )
    return panels


def _by_radius(setting: Setting, attack: str) -> Mapping[float, list[float]]:
    """Return radius -> one accuracy per run. Only records on all images count."""
    found: dict[float, list[float]] = {}
    for run in setting.members:
        records = [each for each in (run.results, *run.others) if each]
        mine: dict[float, float] = {}
        for record in records:
            score = record.student.attacks.get(attack)
            if score and score.epsilon is not None and _same_images(record, records[0]):
                mine.setdefault(score.epsilon, score.accuracy)
        if mine:
            mine[0.0] = records[0].student.clean.accuracy
        for radius, accuracy in mine.items():
            found.setdefault(radius, []).append(accuracy)
    return found


def _same_images(one: Results, other: Results) -> bool:
    return one.images == other.images and one.data == other.data
