"""Gradient estimation against a run of twenty steps of an independent program."""

import re

import numpy as np
import pytest

from kmtard.attacks.gradient_estimation import GradientEstimation

SEEDS = 2
MANY = 100
"""Samples from which on a test is slow."""


def check(net, wanted, samples, seeds):
    epsilon = net.epsilon
    attack = GradientEstimation(epsilon, samples=samples, step_size=epsilon / 8)
    found = np.stack(
        [~attack.run(net.model, net.x, net.y, seed=s).success for s in range(seeds)]
    )
    # Near the boundary chance decides; how often is seen between our own seeds.
    spread = found.mean(axis=1).std() if seeds > 1 else 0
    assert found.mean() <= wanted.mean() + 0.01 + 4 * spread
    agreed = (found == found[0]).all(axis=0)
    assert np.mean(agreed & (found[0] != wanted)) <= 0.02


def cases(net, slow):
    masks = net.arrays("robust_masks")
    found = {}
    for name, mask in masks.items():
        match = re.fullmatch(r"ge_samples(\d+)", name)
        if match and (int(match[1]) > MANY) == slow:
            found[int(match[1])] = mask
    if not found:
        pytest.skip(f"no such gradient estimation for {net.id}")
    return found


def test_few_samples(golden_net):
    for samples, wanted in cases(golden_net, slow=False).items():
        check(golden_net, wanted, samples, SEEDS)


@pytest.mark.slow
def test_many_samples(golden_net):
    for samples, wanted in cases(golden_net, slow=True).items():
        check(golden_net, wanted, samples, seeds=1)
