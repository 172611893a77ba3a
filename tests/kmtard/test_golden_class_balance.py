"""Class weights and class temperatures against the authors' numbers."""

import re

import numpy as np
import pytest

from kmtard import balance

pytestmark = pytest.mark.golden("methods/losses_*.npz")


def test_fair_weights(golden):
    found = [re.fullmatch(r"fair_weights(?:_beta(.+))?", key) for key in golden]
    if not any(found):
        pytest.skip("no class weights in this file")
    images = np.full(len(golden["fair_kappa"]), 7.0)
    for match in filter(None, found):
        weights = balance.class_weights(
            golden["fair_kappa"] * images,
            images,
            beta=float(match[1] or 2),
            bounds=(5 / 6, 5 / 2),
        )
        np.testing.assert_allclose(weights, golden[match[0]], rtol=1e-10)


@pytest.mark.parametrize("row, kind", [(0, "adv"), (1, "nat")])
def test_absld_temperatures(golden, row, kind):
    if "absld_upd_rate" not in golden:
        pytest.skip("no class temperatures in this file")
    temperatures = np.ones(golden["absld_upd_class_loss_totals"].shape[-1])
    images = np.full_like(temperatures, 5)
    for epoch, rate in enumerate(golden["absld_upd_rate"]):
        temperatures = balance.class_temperatures(
            temperatures,
            golden["absld_upd_class_loss_totals"][epoch, row],
            images,
            rate=float(rate),
            bounds=(0.5, 5.0),
        )
        wanted = golden[f"absld_upd_T_{kind}"][epoch]
        np.testing.assert_allclose(temperatures, wanted, rtol=1e-10)
