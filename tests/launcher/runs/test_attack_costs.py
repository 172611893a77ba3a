from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from kmtard import registry
from kmtard.registry import ATTACKS
from kmtard.runs.results import read_all
from launcher.runs.attack_costs import FIXED, cost_text, measured_seconds


def test_times_are_those_of_the_record(evaluated: Callable[..., Path]) -> None:
    records, _ = read_all(evaluated(0))
    assert measured_seconds(records) == {"pgd_trades": 0.5, "fgsm": 0.5}
    assert measured_seconds([]) == {}


def test_a_time_comes_before_steps_and_queries() -> None:
    assert cost_text("pgd_trades", {"pgd_trades": 75.2, "fgsm": 1.0}) == "1m 15s"
    assert cost_text("pgd_trades", {"pgd_trades": 0.5}) == "< 1s"
    assert cost_text("pgd_trades", {}) == "20 steps"
    assert cost_text("fgsm", {}) == "1 step"
    assert cost_text("square", {}) == "5001 queries"
    assert cost_text("unknown", {}) == ""
    assert all(0 < len(cost_text(name, {})) <= 12 for name in ATTACKS)


def test_fixed_costs_are_those_of_the_attacks() -> None:
    for name, text in FIXED.items():
        attack = registry.resolve("attacks", name)(epsilon=0.1)
        parts = list(getattr(attack, "attacks", {"": attack}).values())
        steps, queries = sum(map(steps_of, parts)), sum(map(queries_of, parts))
        if name == "autoattack":
            assert (text, queries) == (f"> {steps} steps", 5001)
        elif name == "fgsm":
            assert (text, attack.steps) == ("1 step", 1)
        else:
            assert text == (f"{queries} queries" if queries else f"{steps} steps")


def steps_of(attack: Any) -> int:
    if queries_of(attack) or not hasattr(attack, "targets"):
        return 0
    return attack.steps * max(1, attack.targets) * getattr(attack, "eot", 1)


def queries_of(attack: Any) -> int:
    if hasattr(attack, "samples"):
        return attack.steps * attack.samples
    return getattr(attack, "queries", 0)
