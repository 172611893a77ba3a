"""One model's evaluation as a claim that a reviewer can check.

The sections give the verdict in words, the accuracies with their intervals, robust
accuracy over the radius, the classes, the images, what the diagnostics looked for, and
the commands and hashes with which others can repeat the evaluation.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from kmtard.evaluation.statistics import wilson_interval
from kmtard.registry import label
from kmtard.report.claim import Claim, radius
from kmtard.report.drawings import Bars, BarSeries, Curve, Curves, Panel, Spread
from kmtard.report.section import Block, Section
from kmtard.report.sections.classes import MOST_CLASSES, frequent, matrices
from kmtard.report.sections.pictures import gallery
from kmtard.runs.documents import table as subtable
from kmtard.runs.formats import ABSENT, radius_text
from kmtard.runs.records import CLEAN, WORST_CASE, Results, Score
from kmtard.runs.result_tables import (
    about,
    attacks_table,
    classes_table,
    corruptions_table,
    published_table,
    radii_table,
)
from kmtard.runs.tables import Table
from kmtard.runs.verdict import CAUSES, RESTRICTIONS, cause_of, verdict

NAMES = {CLEAN: "clean", WORST_CASE: "all attacks together"}


def build(claim: Claim) -> list[Section]:
    """Return the sections of a page about one evaluation."""
    return [
        judgment(claim),
        accuracies(claim),
        radii(claim),
        per_class(claim),
        confusion(claim),
        images(claim),
        corruptions(claim),
        diagnostics(claim),
        reproduction(claim),
    ]


def title(claim: Claim) -> str:
    """Return the heading of the page."""
    return f"Robustness of {claim.network.name}"


def lead(claim: Claim) -> str:
    """Return the first sentence of the page."""
    return (
        f"An evaluation of {about(claim.results, claim.network)}, at epsilon "
        f"{radius_text(radius(claim.results))} in {_norm(claim.results)}."
    )


def _norm(results: Results) -> str:
    norm = (results.conditions or {}).get("norm", "linf")
    return {"linf": "L_inf", "l2": "L2", "l1": "L1"}.get(str(norm), str(norm))


def judgment(claim: Claim) -> Section:
    """Return whether the robust accuracy may be quoted, why, and what to do next."""
    found = verdict(claim.network)
    blocks: list[Block] = [found.sentence]
    if found.advice:
        blocks.append(found.advice)
    if found.attacks:
        command = claim.command("--attacks", ",".join(found.attacks))
        blocks.append(f"To find out more, run: `{command}`")
    if found.reasons:
        rows = [[each.name, each.message] for each in found.reasons]
        blocks.append(Table(["reason", "what was found"], rows))
    if len(claim.records) > 1:
        rows = [
            [radius_text(radius(each)), verdict(each.student).sentence]
            for each in claim.records
        ]
        title = "The verdict at each radius"
        blocks.append(Table(["epsilon", "verdict"], rows, title=title))
    return Section("verdict", "Verdict", blocks)


def accuracies(claim: Claim) -> Section:
    """Return the accuracy under each attack, with its interval and its cost."""
    found = attacks_table(claim.results, claim.network)
    blocks = [replace(found, warnings=())]
    if published := published_table(claim.results):
        blocks.append(published)
    missing = []
    if not claim.network.attacks:
        command = claim.command("--attacks", "autoattack")
        missing.append(f"no attack was run. `{command}` runs AutoAttack.")
    return Section("attacks", "Accuracy under each attack", blocks, missing)


def radii(claim: Claim) -> Section:
    """Return robust accuracy over the radius, with intervals."""
    name = "Robust accuracy over epsilon"
    largest = radius(claim.results) or 8 / 255
    if len(claim.records) < 2:
        steps = [radius_text(largest * part) for part in (0.25, 0.5, 1, 2)]
        command = claim.command("--epsilons", ",".join(["0", *steps]))
        text = f"only one radius was evaluated. `{command}` evaluates several."
        return Section("radii", name, missing=[text])
    shared = [
        attack
        for attack in claim.records[0].student.attacks
        if all(attack in each.student.attacks for each in claim.records)
    ]
    clean = claim.records[0].student.clean
    places = [0.0, *map(radius, claim.records)]
    curves = []
    for attack in shared:
        scores = [clean, *(each.student.attacks[attack] for each in claim.records)]
        y = [100 * each.accuracy for each in scores]
        curves.append(Curve(label(attack), places, y, list(map(_interval, scores))))
    if not curves:
        text = "no attack was run at every radius. Repeat the evaluation with the same "
        text += "`--attacks` for all `--epsilons`."
        return Section("radii", name, missing=[text])
    caption = "Radius 0 is clean accuracy. Bands: 95 % Wilson intervals."
    drawing = Curves(
        panels=[Panel("robust accuracy, %", curves, "epsilon")], caption=caption
    )
    return Section("radii", name, [drawing, radii_table(claim.records)])


def _interval(score: Score) -> Spread:
    """Return the parts of the interval below and above the accuracy, in %."""
    return _spread(score.accuracy, score.interval)


def _spread(accuracy: float, interval: tuple[float, float] | None) -> Spread:
    low, high = interval or (accuracy, accuracy)
    return 100 * (accuracy - low), 100 * (high - accuracy)


def per_class(claim: Claim) -> Section:
    """Return clean and robust accuracy of each class, with intervals."""
    results, network = claim.results, claim.network
    columns = [CLEAN, *([claim.worst_column] if claim.worst_column else [])]
    counts = Counter(results.labels)
    classes = sorted(counts)
    blocks: list[Block] = []
    if len(classes) <= MOST_CLASSES:
        series = []
        for column in columns:
            shares = results.by_class(network.columns[column])
            spreads = [_class_interval(shares.get(c), counts[c]) for c in classes]
            values = [100 * shares[c] if c in shares else None for c in classes]
            series.append(BarSeries(_name(column), values, spreads))
        blocks.append(
            Bars(
                groups=[results.class_name(each) for each in classes],
                series=series,
                y_label="accuracy, %",
                is_share=True,
                caption="Accuracy per class. Error bars: 95 % Wilson intervals.",
            )
        )
    table = classes_table(results, network)
    if len(classes) > MOST_CLASSES:
        shares = results.by_class(network.columns[columns[-1]])
        order = sorted(range(len(classes)), key=lambda n: shares.get(classes[n], 1.0))
        # The last two rows are the worst class and the fairness gap.
        rows = [table.rows[n] for n in order[:MOST_CLASSES]] + list(table.rows[-2:])
        note = f"the {MOST_CLASSES} worst classes of {len(classes)}"
        table = replace(table, rows=rows, notes=[note, *table.notes])
    blocks.append(table)
    return Section("classes", "Accuracy per class", blocks)


def _class_interval(share: float | None, count: int) -> Spread:
    if share is None:
        return None
    low, high = wilson_interval(round(share * count), count)
    return 100 * (share - low), 100 * (high - share)


def _name(column: str) -> str:
    return NAMES.get(column, label(column))


def confusion(claim: Claim) -> Section:
    """Return what clean and attacked images of each class are taken for."""
    name = "Confusion"
    results, network, attack = claim.results, claim.network, claim.strongest
    if attack is None:
        return Section("confusion", name)
    scores = {CLEAN: network.clean, attack: network.attacks[attack]}
    if any(len(each.predictions) != len(results.labels) for each in scores.values()):
        text = f"the record has no predictions. `{claim.command()}` writes them."
        return Section("confusion", name, missing=[text])
    counts: Mapping[str, Counter[tuple[int, int]]] = {
        column: Counter(zip(results.labels, score.predictions, strict=True))
        for column, score in scores.items()
    }
    classes = sorted(
        {one for found in counts.values() for pair in found for one in pair}
    )
    if len(classes) > MOST_CLASSES:
        block: Block = frequent(network.name, counts, results.class_names)
    else:
        names = [results.class_name(each) for each in classes]
        block = matrices(network.name, counts, classes, names)
    return Section("confusion", name, [block])


def images(claim: Claim) -> Section:
    """Return clean and adversarial images, and their amplified difference."""
    name, attack = "Adversarial images", claim.strongest
    if attack is None:
        return Section("images", name)
    found = gallery(claim.results, attack, claim.folder, claim.network.name)
    if found is None:
        text = (
            "no images were saved, or they were removed, or the attack fooled no image "
            f"that was saved. `{claim.command()}` saves some."
        )
        return Section("images", name, missing=[text])
    return Section("images", name, [found])


def corruptions(claim: Claim) -> Section:
    """Return the accuracy on common corruptions, with intervals."""
    name = "Common corruptions"
    # They do not depend on the radius, and only one record of a curve has them.
    records = (claim.results, *claim.records)
    measured = (each for each in records if each.student.corruptions)
    results = next(measured, None)
    found = results.student.corruptions if results else None
    table = corruptions_table(results, results.student) if results else None
    if found is None or table is None:
        command = claim.command("--corruptions")
        text = f"no corruption was evaluated. `{command}` evaluates fifteen."
        return Section("corruptions", name, missing=[text])
    clean = claim.network.clean
    scores = {CLEAN: (clean.accuracy, clean.interval)}
    scores |= {name: (s.accuracy, s.interval) for name, s in found.scores.items()}
    drawing = Bars(
        groups=[each.replace("_", " ") for each in scores],
        series=[
            BarSeries(
                "mean over the severities",
                [100 * accuracy for accuracy, _ in scores.values()],
                [_spread(*each) for each in scores.values()],
            )
        ],
        y_label="accuracy, %",
        is_share=True,
        caption="Accuracy on corrupted images, next to that on clean images. Error "
        "bars: 95 % Wilson intervals.",
    )
    return Section("corruptions", name, [drawing, table])


def diagnostics(claim: Claim) -> Section:
    """Return what the diagnostics found, what it means, and what they looked for."""
    blocks: list[Block] = []
    findings = claim.network.findings
    if findings:
        rows = []
        for each in findings:
            cause = cause_of(each)
            means = "informs only" if cause is None else cause.because
            state = "settled by a later attack" if each.is_settled else means
            rows.append([each.name, each.message, state])
        header = ["diagnostic", "what was found", "what it can mean"]
        blocks.append(Table(header, rows))
    else:
        blocks.append("The diagnostics found no problem.")
    names = {each.name for each in findings}
    rows = []
    for restriction in RESTRICTIONS:
        shown = [name for name in restriction.findings if name in names]
        state = f"found: {', '.join(shown)}" if shown else "not found"
        rows.append([restriction.name, state, restriction.hidden])
    blocks.append(
        Table(
            ["restriction", "this model", "what does not show"],
            rows,
            title="Restrictions of RobustBench",
            notes=["RobustBench accepts only models without these properties."],
        )
    )
    looked = [[each.because, ", ".join(sorted(each.findings))] for each in CAUSES]
    title = "What the diagnostics look for"
    blocks.append(Table(["sign that", "diagnostics"], looked, title=title))
    return Section("diagnostics", "Diagnostics", blocks)


def reproduction(claim: Claim) -> Section:
    """Return the commands, hashes, conditions and versions of the evaluation."""
    environment = claim.results.environment or {}
    blocks: list[Block] = []
    missing = []
    if claim.commands:
        rows = [[each] for each in claim.commands]
        notes = [
            "Run them in the folder that contains the model. Equal hashes and equal "
            "conditions give equal results on a CPU, up to rounding."
        ]
        title = "Commands"
        blocks.append(
            Table(["command"], rows, title=title, notes=notes, code=["command"])
        )
    else:
        missing.append(
            "the record does not name its command, because it was made in Python, at "
            f"the end of a run, or by an earlier version. `{claim.command()}` adds it."
        )
    rows = [[name, value] for name, value in _hashes(claim).items() if value]
    notes = [
        "weights: hash of all arrays of the model, independent of the kind of file. "
        "images: hash of the images and labels in their order. kmtard writes both when "
        "it evaluates, so that they can be compared.",
        "file: SHA-256, as sha256sum prints it.",
    ]
    title = "Hashes"
    blocks.append(Table(["of", "hash"], rows, title=title, notes=notes, code=["hash"]))
    if not claim.network.weights:
        missing.append(
            "the weights have no hash, because the model's configuration does not "
            "identify it. Give its own classes a `get_config`, and evaluate again."
        )
    conditions = {**(claim.results.conditions or {})}
    conditions.pop("images", None)
    rows = [[key, _plain(each)] for key, each in conditions.items() if each is not None]
    rows += [
        [key, _plain(environment[key])]
        for key in ("dtype", "batch_size", "devices")
        if key in environment
    ]
    blocks.append(Table(["condition", "value"], rows, title="Conditions"))
    rows = [[label(name), _settings(score)] for name, score in _attacks(claim).items()]
    if rows:
        header = ["attack", "settings"]
        blocks.append(Table(header, rows, title="Attacks", code=["settings"]))
    versions = subtable(environment, "versions")
    if versions:
        rows = [[str(name), str(each)] for name, each in versions.items()]
        blocks.append(Table(["package", "version"], rows, title="Versions"))
    if claim.other_files:
        rows = [[shlex.join(["kmtard", "report", str(p)])] for p in claim.other_files]
        title = "Other evaluations of this model"
        blocks.append(Table(["command"], rows, title=title, code=["command"]))
    return Section("reproduce", "How to repeat this", blocks, missing)


def _hashes(claim: Claim) -> dict[str, str]:
    environment = claim.results.environment or {}
    return {
        "weights": claim.network.weights or "",
        "images": str((claim.results.conditions or {}).get("images", "")),
        f"file {environment.get('file', '')}": str(environment.get("sha256") or ""),
    }


def _attacks(claim: Claim) -> Mapping[str, Score]:
    attacks = claim.network.attacks
    return {name: each for name, each in attacks.items() if each.settings}


def _settings(score: Score) -> str:
    return ", ".join(
        f"{key}={_plain(value)}" for key, value in (score.settings or {}).items()
    )


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        inner = ", ".join(f"{key}={_plain(each)}" for key, each in value.items())
        return f"({inner})"
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value) or ABSENT
