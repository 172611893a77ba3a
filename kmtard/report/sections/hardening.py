"""A hardening on one page: before and after, what it cost, what it does not promise."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from kmtard.registry import label
from kmtard.report.drawings import Plane, Point
from kmtard.report.section import Section
from kmtard.report.source import Measured, Source, command
from kmtard.runs.documents import number, table
from kmtard.runs.files import RunError, read_regular
from kmtard.runs.folder import Run
from kmtard.runs.formats import ABSENT, duration, radius_text
from kmtard.runs.intact import unsealed
from kmtard.runs.results import NetworkResults, Score, read_all
from kmtard.runs.tables import Table

FACTS_FILE = "hardening.json"
"""File in the run's folder with what `kmtard harden` found out about the model."""

TEACHER_FILE = "robust-teacher.keras"
"""File in the run's folder with the robust teacher, if it was trained there."""

BEFORE, AFTER = "given model", "hardened model"
ROLES = {"nat_teacher": BEFORE, "adv_teacher": "robust teacher", "student": AFTER}
ALLOWED_LOSS = 0.05
"""Clean accuracy that a hardening should cost at most."""

MOST_CLASSES = 50


def read_facts(run: Run) -> Mapping[str, Any]:
    """Return what `kmtard harden` wrote into a run; empty if it is another run."""
    try:
        facts = table(unsealed(json.loads(read_regular(run.path / FACTS_FILE))))
    except (OSError, ValueError, RecursionError):
        return {}
    needed = ("model", "digest", "input_range", "epsilon", "lines", "points")
    return facts if all(key in facts for key in needed) else {}


def accuracies(run: Run) -> tuple[dict[str, float], dict[str, float]]:
    """Return the accuracies of the given and of the hardened model, in [0, 1].

    Raises:
        RunError: the run has no evaluation of both.
    """
    for record in read_all(run.path)[0]:
        found = {each.role: each for each in record.networks}
        pair = [found.get("nat_teacher"), found.get("student")]
        if all(each is not None and each.robust is not None for each in pair):
            before, after = (_shares(each) for each in pair if each is not None)
            return before, after
    raise RunError(
        f"Expected an evaluation of the given and the hardened model in {run.path}. "
        f"Continue the run with `{command('harden', '--resume', str(run.path))}`."
    )


def _shares(network: NetworkResults) -> dict[str, float]:
    robust = network.robust
    return {
        "clean": network.clean.accuracy,
        "robust": robust.accuracy if robust else 0.0,
        "w_robust": (robust.w_robust or 0.0) if robust else 0.0,
    }


def lead(before: Mapping[str, float], after: Mapping[str, float]) -> str:
    """Return the result in two sentences."""
    return (
        f"Accuracy on attacked images: {_percent(before['robust'])} before, "
        f"{_percent(after['robust'])} after. Accuracy on clean images: "
        f"{_percent(before['clean'])} before, {_percent(after['clean'])} after."
    )


def build(source: Source, facts: Mapping[str, Any]) -> list[Section]:
    """Return the sections of the page.

    Args:
        source: the run alone.
        facts: as `read_facts` returns them.
    """
    [run] = source.runs
    sections = [before_after(run), frontier(run, facts), per_class(run)]
    return [*sections, examined(facts), cost(run), limits(run)]


def _networks(run: Measured) -> list[NetworkResults]:
    networks = run.results.networks if run.results else ()
    found = {each.role: each for each in networks}
    return [found[role] for role in ROLES if role in found]


def before_after(run: Measured) -> Section:
    """Return clean, robust and W-Robust accuracy of all networks."""
    networks = _networks(run)
    attacks = [name for name in (networks[0].attacks if networks else ())]
    header = ["model", "clean", *map(label, attacks), "W-Robust"]
    rows = []
    for each in networks:
        cells = [_cell(each.clean)]
        cells += [_cell(each.attacks.get(name)) for name in attacks]
        weighted = each.robust.w_robust if each.robust else None
        cells.append(ABSENT if weighted is None else _percent(weighted))
        rows.append([ROLES[each.role], *cells])
    count = run.results.images if run.results else 0
    notes = [
        f"On {count} test images. The robust teacher is a step on the way, and a model "
        "with the same inputs and outputs.",
        "In parentheses: 95 % confidence interval. W-Robust: mean of clean accuracy "
        f"and accuracy under {label(networks[0].headline or '') if networks else ''}.",
    ]
    block = Table(header, rows, header[1:], title="Accuracy", notes=notes)
    return Section("before-after", "Before and after", [block] if rows else [])


def _cell(score: Score | None) -> str:
    if score is None:
        return ABSENT
    text = _percent(score.accuracy)
    if score.interval:
        low, high = score.interval
        text += f" ({100 * low:.1f} to {100 * high:.1f})"
    return text


def frontier(run: Measured, facts: Mapping[str, Any]) -> Section:
    """Return clean against robust accuracy for a few balances."""
    networks = {each.role: each for each in _networks(run)}
    before, after = networks.get("nat_teacher"), networks.get("student")
    if before is None or after is None or not before.robust or not after.robust:
        return Section("frontier", "Clean against robust")
    rows: list[list[str]] = []
    points: list[Point] = []

    def add(name: str, clean: float, robust: float, file: str) -> None:
        weighted = (clean + robust) / 2
        rows.append([name, *map(_percent, (clean, robust, weighted)), file])
        points.append(Point(name, 100 * clean, 100 * robust, look=len(points)))

    add(BEFORE, before.clean.accuracy, before.robust.accuracy, str(facts["model"]))
    for each in facts["points"]:
        share, clean, robust = (
            number(each.get(k)) for k in ("share", "clean", "robust")
        )
        if share is not None and clean is not None and robust is not None:
            place = run.run.path / f"mixture-{100 * share:.0f}.keras"
            add(f"mixture, {share:.0%} hardened", clean, robust, str(place))
    place = run.run.path / "hardened.keras"
    add(AFTER, after.clean.accuracy, after.robust.accuracy, str(place))
    teacher = networks.get("adv_teacher")
    if teacher is not None and teacher.robust:
        shares = teacher.clean.accuracy, teacher.robust.accuracy
        place = run.run.path / TEACHER_FILE
        add("robust teacher", *shares, str(place) if place.exists() else ABSENT)
    loss = before.clean.accuracy - after.clean.accuracy
    if loss > ALLOWED_LOSS:
        text = (
            f"The hardened model lost {100 * loss:.1f} points of clean accuracy, more "
            f"than {100 * ALLOWED_LOSS:.0f}. With these images and this time, robust "
            "accuracy has this price. The mixtures below lie between both models: "
            "choose the one whose balance suits you."
        )
    else:
        text = (
            f"The hardened model's clean accuracy is within {100 * ALLOWED_LOSS:.0f} "
            "points of the given model's. The mixtures lie between both models."
        )
    if _is_better(teacher, after):
        text += (
            " The robust teacher has a higher W-Robust accuracy here than the hardened "
            "model. Use it instead, or repeat the hardening with more time."
        )
    header = ["model", "clean", "robust", "W-Robust", "file"]
    notes = ["A mixture has the weights between those of the two models."]
    blocks: list[str | Table | Plane] = [
        text,
        Table(header, rows, header[1:4], title="Balances", notes=notes),
        Plane(
            points=points,
            y_label=f"accuracy under {label(after.headline or '')}, %",
            caption="Each dashed line joins points of equal W-Robust accuracy.",
        ),
    ]
    return Section("frontier", "Clean against robust", blocks)


def _is_better(one: NetworkResults | None, other: NetworkResults) -> bool:
    return one is not None and (one.w_robust or 0.0) > (other.w_robust or 0.0)


def per_class(run: Measured) -> Section:
    """Return clean and robust accuracy of each class, before and after."""
    results = run.results
    networks = {each.role: each for each in _networks(run)}
    pair = [networks.get("nat_teacher"), networks.get("student")]
    if results is None or not results.labels or None in pair:
        return Section("classes", "Each class")
    counts = Counter(results.labels)
    columns = []
    for each in pair:
        for score in (each.clean, each.robust) if each else ():
            columns.append(_by_class(results.labels, score))
    header = ["class", "images", "clean before", "robust before"]
    header += ["clean after", "robust after"]
    names = results.class_names
    rows = []
    for one in sorted(counts)[:MOST_CLASSES]:
        name = names[one] if one < len(names) else str(one)
        cells = [columns[place].get(one) for place in range(len(columns))]
        shown = [ABSENT if cell is None else _percent(cell) for cell in cells]
        rows.append([name, str(counts[one]), *shown])
    block = Table(header, rows, header[1:], title="Accuracy of each class")
    return Section("classes", "Each class", [block])


def _by_class(labels: Sequence[int], score: Score | None) -> dict[int, float]:
    if score is None or len(score.robust) != len(labels):
        return {}
    counts = Counter(labels)
    pairs = zip(labels, score.robust, strict=True)
    right = Counter(one for one, digit in pairs if digit == "1")
    return {one: right[one] / count for one, count in counts.items()}


def examined(facts: Mapping[str, Any]) -> Section:
    """Return what was found out about the model, and what was planned."""
    lines = [[str(line)] for line in facts["lines"]]
    title = f"What was found out about {facts['model']}, and planned"
    return Section("model", "The model", [Table(["finding"], lines, title=title)])


def cost(run: Measured) -> Section:
    """Return the time of each part."""
    rows = []
    for each in _networks(run):
        phase = run.history.phases.get(each.role)
        if phase:
            seconds = ABSENT if each.seconds is None else duration(each.seconds)
            rows.append([ROLES[each.role], str(phase.epoch), seconds])
    whole = run.history.seconds
    rows.append(["whole run", ABSENT, duration(whole) if whole else ABSENT])
    header = ["training", "epochs", "time"]
    text = (
        "The run is a recipe: change it and train again with "
        f"`{command('fit', str(run.run.recipe_path))}`, or continue an interrupted "
        f"hardening with `{command('harden', '--resume', str(run.run.path))}`."
    )
    table = Table(header, rows, header[1:], title="Time")
    return Section("cost", "What it cost", [table, text])


def limits(run: Measured) -> Section:
    """Return what the numbers do not promise."""
    radius = radius_text(run.epsilon) if run.epsilon else "the radius"
    texts = [
        f"Robust accuracy is measured: these attacks, changes of at most {radius} per "
        "pixel value in [0, 1], these test images. It is no proof. A stronger attack "
        "can find images that these attacks miss: "
        f"`{command('evaluate', str(run.run.path), '--attacks', 'autoattack')}`.",
        "Nothing is promised for other changes: rotations, blur, other lighting, "
        "stickers, larger changes, or images of another kind than the test images.",
        "The best epoch was chosen on images that were held out of the training "
        "images, not on the test images. Who chooses a mixture by the table above "
        "chooses on the test images; with few of them, look at the confidence "
        "intervals.",
    ]
    return Section("limits", "What it does not promise", texts)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
