"""Square against the schedule and the robust accuracies of the original code.

The original draws one window for a whole batch, ours one for each image: only the law
is the same, so a mean over seeds is compared with the mean over the original's seeds.
"""

import re

import numpy as np
import pytest

from kmtard.attacks.square import SCHEDULES, Square, shares
from kmtard.attacks.square_linf import sides


@pytest.mark.golden("attacks/unit_goldens.npz")
def test_schedules(golden):
    found = 0
    for key, wanted in golden.items():
        if match := re.fullmatch(r"square/(p|side)_(\d+)_(\w+)_(\d+)", key):
            kind, queries, schedule, size = match.groups()
            share = shares(int(queries), schedule=schedule)
            values = share if kind == "p" else sides(share, int(size), int(size))
            np.testing.assert_allclose(values, wanted, rtol=1e-6, err_msg=key)
            found += 1
    if not found:
        pytest.skip("no schedules in this file")


def robust(net, attack, seeds):
    """Return whether each image is robust: (seeds, N)."""
    masks = []
    for seed in range(seeds):
        result = attack.run(net.model, net.x, net.y, seed=seed)
        assert np.abs(result.x_adv - net.x).max() <= attack.epsilon + 1e-6
        masks.append(~result.success)
    return np.stack(masks)


def goldens(net, name):
    masks = net.arrays("robust_masks")
    names = [key for key in masks if re.fullmatch(rf"{name}_seed\d+", key)]
    if not names:
        pytest.skip(f"no {name} for {net.id}")
    return np.stack([masks[key] for key in names])


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_100_queries(schedule, golden_net):
    wanted = goldens(golden_net, f"square100_{schedule}").mean(axis=1)
    attack = Square(golden_net.epsilon, queries=100, schedule=schedule)
    found = robust(golden_net, attack, 5).mean(axis=1)
    # A few seeds may lie close together by chance; ours have at most the same spread.
    spread = max(wanted.std(), found.std())
    assert found.mean() <= wanted.mean() + 4 * spread


@pytest.mark.slow
def test_5000_iterations(golden_net):
    wanted = goldens(golden_net, "square5000_raw")
    found = robust(golden_net, Square(golden_net.epsilon, queries=5001), len(wanted))
    assert found.mean() <= wanted.mean() + 0.01
    # Seeds of the original differ on up to a twenty-fifth of the images.
    agreed = (wanted == wanted[0]).all(axis=0) & (found == found[0]).all(axis=0)
    assert np.mean(agreed & (found[0] != wanted[0])) <= 0.02
