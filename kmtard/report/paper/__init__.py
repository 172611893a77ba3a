"""Look up numbers in the tables of the B-MTARD paper.

`tables.json` contains Tables 1 to 11 of "Balanced Multi-Teacher Adversarial Robustness
Distillation" (TPAMI 2024), in percent.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from kmtard.registry import METHODS, positional

EPSILON = 8 / 255
"""The radius of all attacks in the paper's tables."""

METRICS = ("clean", "robust", "w_robust")

TEACHER_NAMES = {
    "RN-56": "resnet56",
    "ResNet-56": "resnet56",
    "WRN-34-10": "wide_resnet_34_10",
    "WRN-34-10-C": "wide_resnet_34_10",
    "WideResNet-34-10": "wide_resnet_34_10",
    "WideResNet-22-6": "wide_resnet_22_6",
    "WRN-70-16": "wide_resnet_70_16",
    "WideResNet-70-16": "wide_resnet_70_16",
    "PreActResNet-34": "preact_resnet34",
}
"""Teacher in the paper -> network in the registry."""

ROLES = {"clean": "nat_teacher", "robust": "adv_teacher"}

OURS = "b_mtard"

VARIED = {"method.temperature": "1.0", "method.beta": "1.0"}
"""Settings of B-MTARD that Tables 7 and 8 vary -> the value in all other tables."""


@dataclass(frozen=True)
class Number:
    """A number that the paper prints.

    Attributes:
        value: the number, in percent.
        table: number of the table, such as "3, 4".
        computed: mean of the printed clean and robust accuracy, in percent, if the
            printed W-Robust accuracy differs from it; None if it agrees.

    Example:
        >>> Number(67.82, "3, 4").text
        '67.82'
    """

    value: float
    table: str
    computed: float | None = None

    @property
    def text(self) -> str:
        """The number for tables, with a mark if it differs from `computed`."""
        return f"{self.value:.2f}{'' if self.computed is None else ' †'}"


Key = tuple[str, str, str, str, str, tuple[tuple[str, str], ...]]


@cache
def tables() -> Mapping[str, Any]:
    """Return the content of `tables.json`."""
    text = files(__name__).joinpath("tables.json").read_text(encoding="utf-8")
    content: Mapping[str, Any] = json.loads(text)
    return content


def benches() -> list[tuple[str, str]]:
    """Return the pairs of data set and student in the paper's tables."""
    rows = tables()["white_box"]["rows"]
    return list(dict.fromkeys((row["data"], row["student"]) for row in rows))


def methods(part: str, data: str, student: str) -> list[str]:
    """Return the methods of one table in its order; empty if it lacks this data.

    Args:
        part: `white_box` or `black_box`.
        data: name of the data set.
        student: name of the student's network.

    Example:
        >>> methods("white_box", "cifar10", "resnet18")[:3]
        ['natural', 'sat', 'trades']
    """
    return _column(part, data, student, "method")


def attacks(part: str, data: str, student: str) -> list[str]:
    """Return the attacks of one table in its order; empty if it lacks this data.

    Args:
        part: as in `methods`.
        data: name of the data set.
        student: name of the student's network.

    Example:
        >>> attacks("white_box", "cifar10", "resnet18")[:2]
        ['fgsm', 'pgd_sat']
    """
    return _column(part, data, student, "attack")


def _column(part: str, data: str, student: str, key: str) -> list[str]:
    rows = tables()[part]["rows"]
    mine = (each for each in rows if (each["data"], each["student"]) == (data, student))
    return list(dict.fromkeys(each[key] for each in mine))


def number(
    data: str,
    student: str,
    method: str,
    attack: str,
    metric: str,
    settings: Mapping[str, str] | None = None,
) -> Number | None:
    """Return the paper's number for a cell; None if the paper has none.

    Args:
        data: name of the data set.
        student: name of the student's network.
        method: name of the method, in snake_case.
        attack: name of the attack.
        metric: `clean`, `robust` or `w_robust`.
        settings: flat settings of the run. If its temperature, beta or teachers differ
            from the main tables, the number is from Table 7, 8 or 11, or None.

    Example:
        >>> number("cifar10", "resnet18", "b_mtard", "autoattack", "w_robust").text
        '67.82'
    """
    if method not in METHODS:
        return None
    varied = tuple(sorted(_varied(data, method, settings or {}).items()))
    return _numbers().get((data, student, method, attack, metric, varied))


def teacher_number(data: str, network: str, role: str, column: str) -> Number | None:
    """Return the accuracy of a teacher in Table 2; None if it is not in the table.

    Args:
        data: name of the data set.
        network: name of the teacher's network.
        role: `nat_teacher` or `adv_teacher`.
        column: `clean`, or the name of an attack.

    Example:
        >>> teacher_number("cifar10", "resnet56", "nat_teacher", "clean").text
        '93.18'
    """
    for row in tables()["teachers"]["rows"]:
        about = row["data"], TEACHER_NAMES[row["network"]], ROLES[row["kind"]]
        if about == (data, network, role) and column in row:
            return Number(row[column], tables()["teachers"]["table"])
    return None


def knowledge_scale(data: str, network: str) -> Mapping[str, Number]:
    """Return the knowledge scale of a teacher in Table 1.

    Args:
        data: name of the data set.
        network: name of the teacher's network.

    Returns:
        `unbalanced` and `balanced` -> number; empty if the teacher is not in the table.

    Example:
        >>> knowledge_scale("cifar10", "resnet56")["unbalanced"].value
        2.2518
    """
    found = tables()["knowledge_scale"]
    for row in found["rows"]:
        if (data, network) == (found["data"], TEACHER_NAMES[row["network"]]):
            keys = ("unbalanced", "balanced")
            return {key: Number(row[key], found["table"]) for key in keys}
    return {}


def ablation_difference(
    data: str, student: str, method: str, minus: str, attack: str
) -> float | None:
    """Return a difference of W-Robust accuracies from the text about Figure 3, in %.

    Args:
        data: name of the data set.
        student: name of the student's network.
        method: the method with the balance.
        minus: the method without it.
        attack: name of the attack.

    Returns:
        The difference; None if the text does not mention it.

    Example:
        >>> about = "cifar10", "resnet18", "mtard", "baseline"
        >>> ablation_difference(*about, attack="cw_inf")
        0.6
    """
    found = tables()["ablation_differences"]
    if (data, student) == (found["data"], found["student"]):
        for row in found["rows"]:
            if (row["method"], row["minus"]) == (method, minus):
                value: float | None = row.get(attack)
                return value
    return None


def _varied(data: str, method: str, settings: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that differ from the paper's main tables."""
    usual = dict(VARIED) if method == OURS else {}
    # A recipe may hold a teacher that the method does not use.
    for role in positional("methods", method):
        usual |= {k: v for k, v in _teachers(data).items() if k == f"{role}.network"}
    return {
        key: settings[key]
        for key, value in usual.items()
        if key in settings and not _equal(settings[key], value)
    }


def _equal(value: str, usual: str) -> bool:
    try:
        return float(value) == float(usual)
    except ValueError:
        return value == usual


@cache
def _teachers(data: str) -> Mapping[str, str]:
    rows = (row for row in tables()["teachers"]["rows"] if row["data"] == data)
    return {
        f"{ROLES[row['kind']]}.network": TEACHER_NAMES[row["network"]] for row in rows
    }


@cache
def _numbers() -> Mapping[Key, Number]:
    found: dict[Key, Number] = {}
    for key, value in _cells():
        # Tables 7, 8, 10 and 11 repeat cells of Tables 3 and 4.
        found.setdefault(key, value)
    return found


def _cells() -> Iterator[tuple[Key, Number]]:
    content = tables()
    for part in ("white_box", "black_box"):
        yield from _of_rows(content[part]["rows"], content[part]["tables"], {})
    for part, key in (
        ("initial_temperature", "method.temperature"),
        ("beta", "method.beta"),
    ):
        found = content[part]
        about = {name: found[name] for name in ("data", "student")}
        name = found["rows"][0].keys() & {"temperature", "beta"}
        [column] = name
        for row in found["rows"]:
            cell = {**row, **about, "method": OURS}
            yield from _of_rows([cell], found["table"], {key: str(row[column])})
    yield from _of_multi_teacher(content["multi_teacher"])
    yield from _of_pairs(content["teacher_pairs"])
    yield from _of_estimation(content)


def _of_rows(
    rows: Iterable[Mapping[str, Any]], table: str, settings: Mapping[str, str]
) -> Iterator[tuple[Key, Number]]:
    for row in rows:
        about = row["data"], row["student"], row["method"], row["attack"]
        varied = _varied(row["data"], row["method"], settings)
        for metric in METRICS:
            if metric in row:
                odd = row.get("w_robust_of_clean_and_robust")
                computed = odd if metric == "w_robust" else None
                key = (*about, metric, tuple(sorted(varied.items())))
                yield key, Number(row[metric], table, computed)


def _of_multi_teacher(found: Mapping[str, Any]) -> Iterator[tuple[Key, Number]]:
    for row in found["rows"]:
        for attack, value in row.items():
            if attack != "method":
                about = found["data"], found["student"], row["method"], attack
                yield (*about, "w_robust", ()), Number(value, found["table"])


def _of_pairs(found: Mapping[str, Any]) -> Iterator[tuple[Key, Number]]:
    about = {"data": found["data"], "student": found["student"], "method": OURS}
    for row in found["rows"]:
        settings = {
            f"{role}.network": TEACHER_NAMES[row[role]] for role in ROLES.values()
        }
        yield from _of_rows([{**row, **about}], found["table"], settings)


def _of_estimation(content: Mapping[str, Any]) -> Iterator[tuple[Key, Number]]:
    """Yield Table 9. It names no student, but its PGD column identifies the student."""
    found = content["gradient_estimation"]
    students = {
        (row["data"], row["robust"]): row["student"]
        for row in content["white_box"]["rows"]
        if (row["method"], row["attack"]) == (found["method"], "pgd_trades")
    }
    for row in found["rows"]:
        student = students[row["data"], row["pgd_trades"]]
        about = row["data"], student, found["method"], "ge"
        yield (*about, "robust", ()), Number(row["ge"], found["table"])
