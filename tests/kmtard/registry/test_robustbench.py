"""Names of RobustBench's models: which entry they mean, and what it says."""

from __future__ import annotations

import pytest

from kmtard import registry
from kmtard.registry import RegistryError
from kmtard.registry.robustbench import entries, find

pytestmark = pytest.mark.once("torch")


def test_a_name_means_the_linf_entry() -> None:
    assert find("robustbench:Standard").key == "cifar10/Linf/Standard"
    assert find("L2/Standard").key == "cifar10/L2/Standard"
    assert find("Rony2019Decoupling").threat == "L2"


def test_a_name_in_two_data_sets_needs_one() -> None:
    with pytest.raises(RegistryError, match="robustbench:cifar100/Linf/Wu2020"):
        find("Wu2020Adversarial")
    assert find("Wu2020Adversarial", "cifar100").data == "cifar100"
    with pytest.raises(RegistryError, match="for cifar100"):
        find("Standard", "cifar100")


def test_the_published_numbers_and_conditions() -> None:
    entry = find("cifar10/Linf/Gowal2020Uncovering_70_16")
    assert (entry.clean, entry.autoattack) == (85.29, 57.20)
    assert entry.settings == {"data": "cifar10", "epsilon": 8 / 255, "norm": "linf"}
    assert entry.published["architecture"] == "WideResNet-70-16"
    assert find("L2/Standard").settings["norm"] == "l2"
    corrupted = find("cifar10/corruptions/Hendrycks2020AugMix_WRN")
    assert corrupted.settings == {"data": "cifar10"} and corrupted.corruptions


def test_numbers_are_shares_in_percent() -> None:
    for entry in entries().values():
        for value in (entry.clean, entry.autoattack, entry.corruptions):
            assert value is None or 0 <= value <= 100
        assert entry.refused or (entry.network and entry.clean)


def test_a_recipe_may_name_such_a_network() -> None:
    name = "robustbench:Wong2020Fast"
    registry.check("networks", name)
    assert not registry.is_code("networks", name)
    assert set(registry.options("networks", name)) == {"mean", "std"}
    with pytest.raises(RegistryError, match="transformer"):
        registry.check("networks", "robustbench:Debenedetti2022Light_XCiT-S12")
    with pytest.raises(RegistryError, match="Did you mean Wong2020Fast"):
        registry.check("networks", "robustbench:Wong2020")
