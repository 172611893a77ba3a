"""Attacks by name: their strength, the paper's columns, and what is refused."""

from __future__ import annotations

from typing import Any, get_args, get_type_hints

import numpy as np
import pytest

from kmtard import registry
from kmtard.attacks import Attack, pgd_trades
from kmtard.attacks.base import AttackBatch, Found
from kmtard.evaluation.suites import (
    PAPER_EPSILON,
    SUITES,
    Strength,
    find_mistakes,
    left_out,
    named_attacks,
    suite_attacks,
)
from kmtard.recipe.schema import Evaluation

pytestmark = pytest.mark.once("torch")

TRANSFERRED = ["transfer_pgd_trades", "transfer_cw_inf"]


class Idle(Attack):
    """An attack that does nothing."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings

    def attack_batch(self, classifier: Any, batch: AttackBatch) -> Found:
        none = np.zeros(len(batch.active), int)
        return Found(batch.x, none, none, none)


def idle(*, epsilon: float, step_size: float = 0.01, steps: int = 30) -> Idle:
    return Idle(epsilon=epsilon, step_size=step_size, steps=steps)


def transfer_idle(surrogate: Any, *, epsilon: float) -> Idle:
    return Idle(surrogate=surrogate, epsilon=epsilon)


@pytest.fixture
def idle_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    """All attacks of the suite do nothing."""
    for name in SUITES["paper"]:
        target = "transfer_idle" if name in TRANSFERRED else "idle"
        monkeypatch.setitem(registry.ATTACKS, name, f"{__name__}:{target}")
        monkeypatch.setattr(registry, "resolve", resolve)
        monkeypatch.setattr(registry, "positional", positional)


def resolve(table: str, name: str) -> Any:
    return globals()[registry.ATTACKS[name].partition(":")[2]]


def positional(table: str, name: str) -> tuple[str, ...]:
    return ("surrogate",) if name in TRANSFERRED else ()


def test_step_sizes_are_scaled_with_epsilon() -> None:
    attacks = named_attacks(["pgd_sat", "pgd_trades"], Strength(PAPER_EPSILON))
    assert attacks["pgd_sat"].step_size == pytest.approx(2 / 255)
    assert attacks["pgd_trades"].get_config() == pgd_trades().get_config()
    attacks = named_attacks(["fgsm", "pgd_sat"], Strength(0.1))
    assert attacks["pgd_sat"].step_size == pytest.approx(0.1 / 4)
    assert attacks["fgsm"].get_config()["step_size"] == 0.1


def test_hyphenated_names_give_the_keys_of_the_registry() -> None:
    assert list(named_attacks(["apgd-ce", "fab_t"], Strength())) == ["apgd_ce", "fab_t"]


def test_strength_that_is_given_counts_for_pgd() -> None:
    [attack] = named_attacks(["pgd_trades"], Strength(0.1, 0.05, 3)).values()
    assert (attack.epsilon, attack.step_size, attack.steps) == (0.1, 0.05, 3)
    [attack] = named_attacks(["fgsm"], Strength(0.1, 0.05, 3)).values()
    assert (attack.step_size, attack.steps) == (0.1, 1)


@pytest.mark.usefixtures("idle_paper")
def test_strength_of_pgd_does_not_weaken_others() -> None:
    [attack] = named_attacks(["ge"], Strength(0.1, 0.05, 3)).values()
    assert attack.settings["steps"] == 30
    assert attack.settings["step_size"] == pytest.approx(0.01 * 0.1 * 255 / 8)


@pytest.mark.usefixtures("idle_paper")
def test_paper_has_all_columns() -> None:
    attacks = suite_attacks("paper", Strength(0.1, 0.5, 1), surrogate="teacher")
    assert list(attacks) == [
        *("fgsm", "pgd_sat", "pgd_trades", "cw_inf", "autoattack"),
        *("transfer_pgd_trades", "transfer_cw_inf", "square_100", "rays_100", "ge"),
    ]
    assert attacks["transfer_cw_inf"].settings["surrogate"] == "teacher"
    sizes = {attack.settings.get("step_size") for attack in attacks.values()}
    assert 0.5 not in sizes, "the paper's own settings, scaled"
    assert {attack.settings["epsilon"] for attack in attacks.values()} == {0.1}


@pytest.mark.usefixtures("idle_paper")
def test_paper_without_surrogate_leaves_transfer_out() -> None:
    attacks = suite_attacks("paper", Strength())
    assert set(SUITES["paper"]) - attacks.keys() == set(TRANSFERRED)
    assert left_out("paper") == TRANSFERRED


def test_unknown_suite() -> None:
    with pytest.raises(ValueError, match="paper.*'papr'"):
        suite_attacks("papr", Strength())


@pytest.mark.usefixtures("idle_paper")
def test_transfer_by_name_needs_its_surrogate() -> None:
    with pytest.raises(ValueError, match="transfer_cw_inf.*surrogate"):
        named_attacks(["transfer_cw_inf"], Strength())


def test_all_unknown_names_are_told_at_once() -> None:
    mistakes = find_mistakes(["fgms", "fgsm", "pgd_tradse"], has_surrogate=False)
    assert len(mistakes) == 2
    assert "Did you mean fgsm?" in mistakes[0]
    assert "Did you mean pgd_trades?" in mistakes[1]


@pytest.mark.parametrize(
    "values", [(8,), (-0.1,), (float("nan"),), (0.1, 2.0), (0.1, 0.1, -1)]
)
def test_strength_out_of_range(values: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match=f"Received: {values[-1]}"):
        Strength(*values)


def test_every_suite_can_be_built() -> None:
    for name in SUITES:
        attacks = suite_attacks(name, Strength(0.1))
        assert list(attacks) == [a for a in SUITES[name] if a not in left_out(name)]
    standard = suite_attacks("standard", Strength(0.5, norm="l2"))["autoattack"]
    assert standard.get_config()["norm"] == "l2"
    assert len(left_out("blackbox")) == 6


def test_recipes_know_every_suite() -> None:
    hint = get_type_hints(Evaluation)["suite"]
    assert set(get_args(get_args(hint)[0])) == SUITES.keys()


def test_own_loss_replaces_the_cross_entropy() -> None:
    def loss(labels: Any, logits: Any) -> Any:
        return logits[:, 0]

    names = ["pgd_trades", "apgd_ce", "cw_inf"]
    attacks = named_attacks(names, Strength(0.1, loss=loss))
    assert [getattr(each, "loss", None) for each in attacks.values()] == [
        *(loss, loss, "cw")
    ]
    plain = named_attacks(names, Strength(0.1))
    for name, attack in attacks.items():
        assert attack.get_config() | {"loss": 0} == plain[name].get_config() | {
            "loss": 0
        }
    assert suite_attacks("adaptive", Strength(loss=loss))["apgd_ce"].loss is loss
    with pytest.raises(ValueError, match="own loss is for the attacks fgsm.*ge"):
        named_attacks(["ge"], Strength(loss=loss))


def test_attacks_in_l2() -> None:
    attacks = named_attacks(
        ["fgsm", "pgd_trades", "apgd_ce", "fab_t", "square", "autoattack"],
        Strength(0.5, norm="l2"),
    )
    assert {attack.get_config()["norm"] for attack in attacks.values()} == {"l2"}
    with pytest.raises(
        ValueError,
        match="norm 'l2' is supported by.*'rays_100', which supports only 'linf'",
    ):
        named_attacks(["rays_100"], Strength(0.5, norm="l2"))
    with pytest.raises(ValueError, match="'ddn', which supports only 'l2'"):
        named_attacks(["ddn"], Strength(0.1))
    with pytest.raises(ValueError, match="`norm` must be 'linf', 'l2' or 'l1'"):
        Strength(0.5, norm="l0")


def test_attacks_in_l1() -> None:
    """In L1, epsilon is a sum over all pixel values."""
    names = ["apgd_ce", "apgd_dlr", "apgd_t"]
    attacks = named_attacks(names, Strength(12, norm="l1"))
    for attack in attacks.values():
        assert attack.epsilon == 12 and attack.get_config()["norm"] == "l1"
    for name in ("pgd_trades", "autoattack", "fmn"):
        with pytest.raises(
            ValueError, match=f"'l1' is supported by apgd_ce.*Received: '{name}'"
        ):
            named_attacks([name], Strength(12, norm="l1"))
    with pytest.raises(ValueError, match="'autoattack', which supports only 'linf'"):
        suite_attacks("standard", Strength(12, norm="l1"))
    for epsilon in (-1, float("inf"), float("nan"), "12"):
        with pytest.raises(ValueError, match="`epsilon` must be a number >= 0"):
            Strength(epsilon, norm="l1")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`step_size` must be a number in"):
        Strength(12, 2.0, norm="l1")
    with pytest.raises(ValueError, match="`epsilon` must be a number in"):
        Strength(12, norm="l2")
