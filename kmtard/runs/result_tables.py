"""Tables of an evaluation's results: one row per network, or one row per attack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from kmtard.registry import label
from kmtard.registry.corruptions import CORRUPTIONS, SEVERITIES
from kmtard.registry.roles import TEACHERS
from kmtard.runs.documents import number
from kmtard.runs.formats import ABSENT, figure, percent, points, radius_text
from kmtard.runs.results import (
    CLEAN,
    CorruptionScore,
    NetworkResults,
    Results,
    Score,
)
from kmtard.runs.tables import Table

ATTACK_HEADINGS = (
    *("attack", "robust", "95 %", "W-Robust", "fooled", "worst"),
    *("queries", "forward", "back", "s"),
)
LEGEND = (
    "Accuracies in %; 95 %: Wilson interval; W-Robust: mean of clean accuracy and "
    "accuracy under this row's attack; fooled: number of images; worst: lowest "
    "accuracy of a class (its label); queries, forward, back: mean model queries, "
    "forward and backward passes per attacked image; s: seconds in total."
)
CLOSE = 1e-9  # difference of equal radii

MOST_CLASSES = 20
"""With more classes, only the most frequent mistakes are shown."""

SHOWN_SETTINGS = ("epsilon", "step_size", "steps", "queries", "norm")


def w_robust_heading(attack: str | None) -> str:
    """Return the heading of W-Robust accuracy, with the attack in parentheses."""
    return f"W-Robust ({attack})" if attack else "W-Robust"


def networks_table(results: Results) -> Table:
    """Return one row per network, with the attacks that all networks share."""
    networks, student = results.networks, results.student
    attacks = [
        name
        for name in student.attacks
        if all(name in network.attacks for network in networks)
    ]
    names = [
        "clean",
        *map(label, attacks),
        w_robust_heading(results.headline),
        "seconds",
    ]
    lines = []
    for network in networks:
        scores = [network.clean, *(network.attacks[name] for name in attacks)]
        lines.append(
            [
                *(network.label, *(percent(score.accuracy) for score in scores)),
                *(percent(network.w_robust), _seconds(network)),
            ]
        )
    notes = [_caption(name, student.attacks[name]) for name in attacks]
    if results.headline is not None:
        notes.append(f"W-Robust: half clean, half {results.headline}")
    images = "" if results.images is None else f" on {results.images} test images"
    title = f"Accuracy{images}, %"
    return Table(["network", *names], lines, names, title=title, notes=notes)


def _seconds(network: NetworkResults) -> str:
    if network.seconds is None and network.role in TEACHERS:
        return "cached"
    return figure(network.seconds)


def attacks_table(results: Results, network: NetworkResults) -> Table:
    """Return one row per attack for a network, after a row for the clean images.

    Args:
        results: the record.
        network: one of the record's networks.
    """
    notes = [LEGEND]
    for name, score in network.attacks.items():
        notes.append(_caption(name, score))
        if score.stages and results.images:
            left = score.stages.items()
            after = ", ".join(f"{k} {percent(n / results.images)}" for k, n in left)
            notes.append(f"{label(name)} after {after}")
    if network.w_robust is not None:
        headline = f"W-Robust, against {network.headline}"
        notes.append(f"{headline}: {percent(network.w_robust)}")
    return Table(
        ATTACK_HEADINGS,
        [_attack_row(results, network, *item) for item in network.columns.items()],
        ATTACK_HEADINGS[1:],
        title=about(results, network),
        notes=notes,
        warnings=network.findings,
    )


def radii_table(records: Sequence[Results]) -> Table:
    """Return robust accuracy over the radius, one row per radius.

    Args:
        records: evaluations of one network on the same images, one per radius, in
            ascending order. The first row, radius 0, is clean accuracy.
    """
    first = records[0].student
    names = [n for n in first.attacks if all(n in r.student.attacks for r in records)]
    lines = [["0", *[_with_interval(first.clean)] * len(names)]]
    for record in records:
        scores = [record.student.attacks[name] for name in names]
        radius = (record.conditions or {}).get("epsilon")
        lines.append([radius_text(radius), *map(_with_interval, scores)])
    notes = ["Accuracy in % with its 95 % Wilson interval. Radius 0: clean accuracy."]
    for name in names:
        found = records[-1].student.attacks[name].distance
        if found and found.median_linf is not None:
            notes.append(
                f"{label(name)}: the median minimal distance is at most L_inf "
                f"{found.median_linf:.4g}, L2 {found.median_l2 or 0:.4g} (0 for images "
                "that are misclassified clean)"
            )
    title = f"Robust accuracy over epsilon, {about(records[0], first)}"
    heading = ["epsilon", *map(label, names)]
    return Table(heading, lines, heading, title=title, notes=notes)


def corruptions_table(results: Results, network: NetworkResults) -> Table | None:
    """Return the accuracy on each common corruption at each severity, and the means.

    Args:
        results: the record.
        network: one of the record's networks.

    Returns:
        The table; None if no corruption was evaluated.
    """
    found = network.corruptions
    if found is None:
        return None
    scores = found.scores
    heading = ["corruption", *map(str, SEVERITIES), "mean", "95 %"]
    lines = []
    for name, score in scores.items():
        shares = [percent(each.accuracy) for each in score.severities]
        lines.append([name, *shares, percent(score.accuracy), _ends(score.interval)])
    columns = zip(*(each.severities for each in scores.values()), strict=True)
    means = [percent(_mean([each.accuracy for each in column])) for column in columns]
    lines.append(["mean", *means, percent(found.accuracy), _ends(found.interval)])
    notes = [
        "Accuracy in % at severity 1 to 5; 95 %: Wilson interval of the mean.",
        *_corruption_notes(scores),
    ]
    if found.mce is not None:
        heading.append("CE")
        errors = [each.error for each in scores.values()]
        for line, error in zip(lines, [*errors, found.mce], strict=True):
            line.append(percent(error))
        text = "CE: error in % of the baseline's error; its mean is the mCE"
        notes.append(text)
    title = f"Common corruptions, {about(results, network)}"
    return Table(heading, lines, heading[1:], title=title, notes=notes)


def _corruption_notes(scores: Mapping[str, CorruptionScore]) -> list[str]:
    """Return what a reader must know before comparing with published numbers."""
    notes = []
    ours = [n for n, s in scores.items() if s.settings.get("source") == "generated"]
    if ours:
        which = "" if len(ours) == len(scores) else f" ({', '.join(ours)})"
        notes.append(
            f"The images{which} were generated here: their random numbers differ from "
            "those of the published files."
        )
    differences: dict[str, list[str]] = {}
    for name in ours:
        if text := scores[name].settings.get("difference"):
            differences.setdefault(str(text), []).append(name)
    notes += [f"{', '.join(names)}: {text}." for text, names in differences.items()]
    missing = [name for name in CORRUPTIONS if name not in scores]
    if missing:
        notes.append(f"The means leave out {', '.join(missing)}.")
    return notes


def _mean(shares: Sequence[float]) -> float:
    return sum(shares) / len(shares)


def _ends(interval: tuple[float, float] | None) -> str:
    return "-".join(f"{100 * end:.1f}" for end in interval or ()) or ABSENT


def classes_table(results: Results, network: NetworkResults) -> Table:
    """Return clean and robust accuracy per class, the worst class and the fairness gap.

    The fairness gap is the largest accuracy of a class minus the smallest.

    Args:
        results: the record, with an outcome per image.
        network: one of the record's networks.
    """
    columns = network.columns
    classes = sorted(set(results.labels))
    shares = {name: results.by_class(score) for name, score in columns.items()}
    lines = []
    for each in classes:
        count = str(results.labels.count(each))
        found = [percent(shares[name].get(each)) for name in columns]
        lines.append([results.class_name(each), count, *found])
    worst, gaps = ["worst class", ""], ["fairness gap", ""]
    for name in columns:
        values = shares[name]
        if not values:
            worst, gaps = [*worst, ABSENT], [*gaps, ABSENT]
            continue
        low = min(values, key=lambda each: values[each])
        worst.append(f"{percent(values[low])} ({results.class_name(low)})")
        gaps.append(percent(max(values.values()) - values[low]))
    heading = ["class", "images", *map(label, columns)]
    return Table(
        heading,
        [*lines, worst, gaps],
        heading[1:],
        title=f"Accuracy per class in %, {about(results, network)}",
        notes=["fairness gap: the best class minus the worst one, in points"],
    )


def confusion_table(
    results: Results, network: NetworkResults, attack: str | None = None
) -> Table:
    """Return what images of each class are taken for under an attack.

    With more than `MOST_CLASSES` classes, only the most frequent mistakes are shown.

    Args:
        results: the record, with a prediction per image.
        network: one of the record's networks, with at least one attack.
        attack: name of the attack, or `clean`; the headline attack if None.
    """
    attack = attack or network.headline or ""
    score = network.columns.get(attack)
    title = f"Predictions under {label(attack)}, {about(results, network)}"
    counts: Counter[tuple[int, int]] = Counter()
    if score:
        counts = results.confusion(score)
    classes = sorted({*results.labels, *(answer for _, answer in counts)})
    if len(classes) > MOST_CLASSES:
        wrong = {pair: count for pair, count in counts.items() if pair[0] != pair[1]}
        mistakes = Counter(wrong)
        lines = [
            [results.class_name(one), results.class_name(other), str(count)]
            for (one, other), count in mistakes.most_common(MOST_CLASSES)
        ]
        heading = ["class", "taken for", "images"]
        return Table(heading, lines, heading[2:], title=title)
    heading = ["class", *(results.class_name(each) for each in classes)]
    lines = [
        [results.class_name(one), *(str(counts[one, other]) for other in classes)]
        for one in sorted(set(results.labels))
    ]
    note = "one row per true class, one column per prediction: number of images"
    return Table(heading, lines, heading[1:], title=title, notes=[note])


def _with_interval(score: Score) -> str:
    low, high = score.interval or (None, None)
    if low is None or high is None:
        return percent(score.accuracy)
    return f"{percent(score.accuracy)} ({100 * low:.1f}-{100 * high:.1f})"


def published_table(results: Results) -> Table | None:
    """Return the numbers that RobustBench publishes, next to those of the record.

    Args:
        results: the record.

    Returns:
        The table; None if the record is not about a model of RobustBench.
    """
    published = (results.environment or {}).get("published")
    if not isinstance(published, Mapping):
        return None
    student, conditions = results.student, results.conditions or {}
    ours, theirs = (number(each.get("epsilon")) for each in (conditions, published))
    same_norm = published.get("norm") == conditions.get("norm", "linf")
    alike = same_norm and ours is not None and theirs is not None
    alike = alike and abs((ours or 0) - (theirs or 0)) < CLOSE
    attack = student.attacks.get("autoattack") if alike else None
    lines = []
    for key, score in (("clean", student.clean), ("autoattack", attack)):
        value = number(published.get(key))
        if value is None:
            continue
        here = ABSENT if score is None else _with_interval(score)
        difference = None if score is None else score.accuracy
        lines.append([key, f"{value:.2f}", here, points(difference, value / 100)])
    notes = [
        "RobustBench evaluates all 10,000 test images"
        + (f" at epsilon {radius_text(theirs)}." if theirs is not None else "."),
        f"{published.get('paper', '')}, {published.get('link', '')}",
    ]
    heading = ["accuracy, %", "published", "here", "difference"]
    title = f"RobustBench: {published.get('name')}, {published.get('architecture')}"
    return Table(heading, lines, heading[1:], title=title, notes=notes)


def has_details(network: NetworkResults) -> bool:
    """Return whether more than accuracies was recorded. Version 0.1 wrote less."""
    return network.clean.interval is not None


def about(results: Results, network: NetworkResults) -> str:
    """Return a title such as `student on 360 images of digits`, as far as known."""
    images = "" if results.images is None else f"{results.images} images"
    on = " of ".join(filter(None, (images, results.data)))
    return " on ".join(filter(None, (network.name, on)))


def _attack_row(
    results: Results, network: NetworkResults, name: str, score: Score
) -> list[str]:
    clean, cost = network.clean.correct, score.cost
    known = name != CLEAN and clean is not None and score.correct is not None
    costs = (cost.queries, cost.forwards, cost.backwards, cost.seconds) if cost else ()
    worst = score.worst_class
    return [
        label(name),
        percent(score.accuracy),
        _ends(score.interval),
        percent(score.w_robust),
        str((clean or 0) - (score.correct or 0)) if known else ABSENT,
        f"{100 * worst[1]:.1f} ({results.class_name(worst[0])})" if worst else ABSENT,
        *(map(figure, costs) if costs else [ABSENT] * 4),
    ]


def _caption(name: str, score: Score) -> str:
    settings = score.settings or {}
    found = {**_shown(settings.get("attack")), **_shown(settings)}
    if score.epsilon is not None:
        found = {"epsilon": score.epsilon, **found}
    text = ", ".join(f"{key} {_short(value)}" for key, value in found.items())
    return f"{label(name)}: {text}" if text else label(name)


def _shown(settings: Any) -> Mapping[str, Any]:
    if not isinstance(settings, Mapping):
        return {}
    config = settings.get("config", settings)
    if not isinstance(config, Mapping):
        return {}
    return {key: config[key] for key in SHOWN_SETTINGS if key in config}


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
