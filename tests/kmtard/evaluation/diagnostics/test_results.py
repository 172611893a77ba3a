"""Diagnostics that compare accuracies."""

import pytest

from kmtard.evaluation.diagnostics.results import check_results
from tests.kmtard.evaluation.diagnostics.nets import names

pytestmark = pytest.mark.once("torch")


@pytest.mark.parametrize(
    "accuracies, expected",
    [
        ({"pgd": 0.5, "apgd-ce": 0.5, "square": 0.497}, {"square-better"}),
        ({"pgd": 0.5, "apgd-ce": 0.5, "square": 0.499}, set()),
        ({"pgd": 0.5, "square": 0.4}, set()),
        ({"pgd": 0.5, "fgsm": 0.6, "rays_100": 0.49}, {"white-box-weaker"}),
        ({"pgd": 0.5, "transfer_pgd": 0.49}, {"white-box-weaker"}),
        ({"pgd": 0.5, "transfer_pgd": 0.499, "clean": 0.1}, set()),
        ({"rays_100": 0.1}, set()),
    ],
)
def test_results(accuracies, expected):
    kinds = dict.fromkeys(("pgd", "fgsm", "apgd-ce"), "white-box")
    kinds |= {"rays_100": "black-box", "transfer_pgd": "transfer"}
    assert names(check_results(accuracies, kinds)) == expected
