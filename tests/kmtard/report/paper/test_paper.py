from __future__ import annotations

import pytest

from kmtard.registry import ATTACKS, DATASETS, METHODS, NETWORKS
from kmtard.report import paper

pytestmark = pytest.mark.once("jax")

CIFAR = ("cifar10", "resnet18")
TEACHERS = {
    "nat_teacher.network": "resnet56",
    "adv_teacher.network": "wide_resnet_34_10",
}


def value(*cell: str, settings: dict[str, str] | None = None) -> float | None:
    found = paper.number(*cell, settings=settings)
    return found.value if found else None


def test_every_name_in_the_tables_is_in_the_registry() -> None:
    for part in ("white_box", "black_box"):
        for row in paper.tables()[part]["rows"]:
            assert row["data"] in DATASETS and row["student"] in NETWORKS
            assert row["method"] in METHODS and row["attack"] in ATTACKS
    assert set(paper.TEACHER_NAMES.values()) <= NETWORKS.keys()


def test_marked_numbers_are_those_that_do_not_add_up() -> None:
    marked = 0
    for part in ("white_box", "black_box"):
        for row in paper.tables()[part]["rows"]:
            cell = (row["data"], row["student"], row["method"], row["attack"])
            found = paper.number(*cell, "w_robust")
            assert found is not None and found.value == row["w_robust"]
            half = (row["clean"] + row["robust"]) / 2
            # Both numbers are rounded to two decimals.
            adds_up = abs(half - row["w_robust"]) < 0.0151
            assert (found.computed is None) == adds_up, cell
            marked += not adds_up
    assert marked == 7


@pytest.mark.parametrize(
    "method, settings, metric, expected",
    [
        ("b_mtard", {}, "clean", 88.2),
        ("b_mtard", TEACHERS, "clean", 88.2),
        ("b_mtard", {**TEACHERS, "method.temperature": "2.0"}, "clean", 88.22),
        ("b_mtard", {"method.beta": "0.5"}, "robust", 50.24),
        ("b_mtard", {"method.beta": "0.5", "method.temperature": "2"}, "robust", None),
        (
            "b_mtard",
            {**TEACHERS, "nat_teacher.network": "wide_resnet_34_10"},
            "w_robust",
            69.09,
        ),
        ("ard", {"adv_teacher.network": "resnet18"}, "clean", None),
        # ARD has no clean teacher, and TRADES has no teachers.
        ("ard", {"nat_teacher.network": "resnet18"}, "clean", 84.11),
        ("trades", {"adv_teacher.network": "resnet18"}, "clean", 83.0),
        ("lmtn", {}, "w_robust", 68.5),
        ("lmtn", {}, "clean", None),
        ("my_module:Method", {}, "clean", None),
    ],
)
def test_the_cell_decides_which_table_is_compared(
    method: str, settings: dict[str, str], metric: str, expected: float | None
) -> None:
    assert value(*CIFAR, method, "pgd_sat", metric, settings=settings) == expected


def test_gradient_estimation_belongs_to_the_student_of_its_pgd_column() -> None:
    assert value(*CIFAR, "b_mtard", "ge", "robust") == 60.34
    assert value("tiny_imagenet", "preact_resnet18", "b_mtard", "ge", "robust") == 30.83
    assert value("cifar10", "mobilenet_v2", "b_mtard", "ge", "robust") is None


def test_teachers_knowledge_scale_and_ablation() -> None:
    found = paper.teacher_number("cifar10", "resnet56", "nat_teacher", "fgsm")
    assert found is not None and found.text == "19.23"
    assert paper.teacher_number("cifar10", "resnet56", "adv_teacher", "fgsm") is None
    # The same network is both teachers of Tiny-ImageNet.
    for role, clean in (("nat_teacher", 66.05), ("adv_teacher", 52.76)):
        found = paper.teacher_number("tiny_imagenet", "preact_resnet34", role, "clean")
        assert found is not None and found.value == clean
    scale = paper.knowledge_scale("cifar10", "resnet56")
    assert [scale[key].value for key in ("unbalanced", "balanced")] == [2.2518, 1.248]
    assert not paper.knowledge_scale("cifar100", "resnet56")
    difference = paper.ablation_difference(*CIFAR, "mtard", "baseline", "cw_inf")
    assert difference == 0.6
    assert paper.ablation_difference(*CIFAR, "mtard", "baseline", "fgsm") is None
