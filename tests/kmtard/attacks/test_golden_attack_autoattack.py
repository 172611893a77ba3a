"""AutoAttack against the authors' code."""

import numpy as np
import pytest

from kmtard.attacks.apgd import APGD
from kmtard.attacks.autoattack import AutoAttack, members
from kmtard.attacks.square import Square


def assert_as_good(robust, wanted):
    assert robust.mean() <= wanted.mean() + 0.005
    assert np.mean(robust == wanted) >= 0.98


@pytest.mark.slow
def test_standard(golden_net):
    x, y = golden_net.x, golden_net.y
    wanted = golden_net.wanted("robust_masks", "aa_standard")
    result = AutoAttack(golden_net.epsilon).run(golden_net.model, x, y)
    assert_as_good(~result.success, wanted)
    assert abs(np.mean(~result.success) - wanted.mean()) <= 0.005
    for name, stage in result.stages.items():
        after = f"aa_standard_after_{name.replace('-', '_')}"
        assert_as_good(stage.robust, golden_net.wanted("robust_masks", after))
    assert np.abs(result.x_adv - x).max() <= golden_net.epsilon + 1e-6


def test_standard_on_some_images(golden_net):
    """All four attacks, Square cut short, on every fourth image."""
    rows = np.arange(0, len(golden_net.x), 4)
    wanted = golden_net.wanted("robust_masks", "aa_standard")[rows]
    epsilon = golden_net.epsilon
    attacks = {**members(epsilon), "square": Square(epsilon, queries=101)}
    result = AutoAttack(epsilon, attacks=attacks).run(
        golden_net.model, golden_net.x[rows], golden_net.y[rows], indices=rows
    )
    assert_as_good(~result.success, wanted)


def test_first_attack_is_the_attack_alone(golden_net):
    x, y, epsilon = golden_net.x[:64], golden_net.y[:64], golden_net.epsilon
    alone = APGD(epsilon, steps=20).run(golden_net.model, x, y)
    attacks = {"apgd-ce": APGD(epsilon, steps=20)}
    both = AutoAttack(epsilon, attacks=attacks).run(golden_net.model, x, y)
    np.testing.assert_array_equal(alone.x_adv, both.x_adv)
    np.testing.assert_array_equal(~alone.success, both.stages["apgd-ce"].robust)
