"""What `evaluation.json` holds, as tables: of a training, of an evaluation, of both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from launcher.runs.documents import number, percent, table
from launcher.runs.exports import ABSENT, Table

ROLES = {"nat_teacher": "clean teacher", "adv_teacher": "robust teacher"}
COLUMNS = (
    *("attack", "robust", "95 %", "W-Robust", "fooled", "worst class"),
    *("queries", "forward", "back", "seconds"),
)
WORST_CASE = "worst case"


def networks_table(report: Mapping[str, Any]) -> Table:
    """Return the accuracies of teachers and student at the end of a training."""
    rows = [row for row in _list(report.get("rows")) if table(row)]
    attacks = list(
        dict.fromkeys(name for row in rows for name in table(row, "robust_accuracy"))
    )
    names = ["clean", *attacks, "W-Robust", "seconds"]
    lines = []
    for row in rows:
        robust, weighted = (
            table(row, "robust_accuracy"),
            table(row, "w_robust_accuracy"),
        )
        chosen = next(reversed(weighted), ABSENT)
        role = str(row.get("role", ABSENT))
        shares = [row.get("clean_accuracy"), *map(robust.get, attacks)]
        shares.append(weighted.get(chosen))
        cells = [percent(number(share)) for share in shares]
        lines.append([ROLES.get(role, role), *cells, _figure(row.get("seconds"))])
    return Table(["network", *names], lines, names)


def attacks_table(report: Mapping[str, Any]) -> Table:
    """Return the accuracies of one network under each attack of an evaluation."""
    columns = {"clean": table(report, "clean"), **table(report, "attacks")}
    if len(columns) > 2:
        columns[WORST_CASE] = table(report, "worst_case")
    clean = number(table(report, "clean").get("correct"))
    lines = [
        _attack_line(name, column, clean)
        for name, column in columns.items()
        if table(column) and "accuracy" in column
    ]
    return Table(COLUMNS, lines, COLUMNS[1:])


def _attack_line(
    name: str, column: Mapping[str, Any], clean: float | None
) -> list[str]:
    interval = [number(share) for share in _list(column.get("interval"))]
    worst, cost = table(column, "worst_class"), table(column, "cost")
    correct = number(column.get("correct"))
    is_attack = name != "clean"
    known = clean is not None and correct is not None and is_attack
    share = number(worst.get("accuracy"))
    return [
        name,
        percent(number(column.get("accuracy"))),
        "-".join(f"{100 * each:.1f}" for each in interval if each is not None)
        or ABSENT,
        percent(number(column.get("w_robust_accuracy"))) if is_attack else ABSENT,
        f"{(clean or 0) - (correct or 0):.0f}" if known else ABSENT,
        ABSENT if share is None else f"{100 * share:.1f} ({worst.get('label')})",
        *(_figure(cost.get(key)) for key in ("queries", "forwards", "backwards")),
        _figure(cost.get("seconds")),
    ]


def warnings(report: Mapping[str, Any]) -> list[str]:
    """Return what a reader of the figures must know."""
    found = [each for each in _list(report.get("warnings")) if table(each)]
    return [f"{each.get('name', '')}: {each.get('message', '')}" for each in found]


def about(report: Mapping[str, Any]) -> str:
    """Return what was judged on what, as far as it is said."""
    images = number(report.get("images"))
    parts = [str(report.get(key, "")) for key in ("model", "data")]
    parts.append("" if images is None else f"{images:.0f} images")
    return ", ".join(filter(None, parts))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _figure(value: Any) -> str:
    found = number(value)
    if found is None:
        return ABSENT
    return f"{found:.0f}" if found >= 100 else f"{found:.3g}"
