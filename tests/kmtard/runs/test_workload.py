from __future__ import annotations

import pytest

from kmtard.runs.workload import Images, Workload

pytestmark = pytest.mark.once("torch")

RECIPE = {
    "nat_teacher": {
        "train": True,
        "method": {
            "name": "natural",
            "schedule": {"epochs": 5},
            "attack": {"steps": 7},
        },
    },
    "adv_teacher": {"weights": "a.keras"},
    "method": {"name": "trades"},
    "attack": {"steps": 10},
    "schedule": {"epochs": 3},
    "evaluation": {"attacks": ["fgsm", "pgd_trades"], "steps": 20},
}


def test_passes_of_an_epoch_and_of_the_evaluation():
    load = Workload(RECIPE)
    assert load.epochs == {"nat_teacher": 5, "student": 3}
    # Without the numbers of images, those of one training image.
    assert (load.per_epoch("nat_teacher"), load.per_epoch("student")) == (1, 11)
    assert load.of_evaluation() is None
    load.images = Images(train=100, epoch=10, test=50)
    assert load.per_epoch("nat_teacher") == 100 + 10 * 21
    assert load.per_epoch("student") == 100 * 11 + 10 * 21
    assert load.of_evaluation() == 50 * (1 + 1 + 20)
    assert load.has_weights("adv_teacher") and not load.has_weights("nat_teacher")


@pytest.mark.parametrize(
    "evaluation",
    [
        {"attacks": ["autoattack"], "steps": 20},
        {"attacks": ["fgsm"], "steps": 20, "suite": "paper"},
        {"attacks": [["fgsm"], {}], "steps": 20},
        {"attacks": "fgsm", "steps": 20},
        {"attacks": ["fgsm"]},
    ],
)
def test_an_evaluation_of_unknown_length(evaluation):
    load = Workload({**RECIPE, "evaluation": evaluation})
    load.images = Images(train=100, epoch=10, test=50)
    assert load.of_evaluation() is None


@pytest.mark.parametrize("damaged", [{}, {"method": 3, "attack": [], "schedule": "x"}])
def test_a_damaged_recipe(damaged):
    load = Workload(damaged)
    assert load.epochs == {} and load.per_epoch("student") == 1
    assert load.batch_size is None


def test_damaged_numbers_of_images():
    assert Images.of({"train": 5, "epoch": 0, "test": 3}) == Images(5, 0, 3)
    for value in (None, 3, {}, {"train": 0, "epoch": 1, "test": 1}, {"train": 5}):
        assert Images.of(value) is None
