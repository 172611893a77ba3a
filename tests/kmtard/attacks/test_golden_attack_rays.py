"""RayS against the authors' code."""

from __future__ import annotations

import re

import numpy as np
import pytest
from keras import ops

from kmtard.attacks.classifier import Classifier
from kmtard.attacks.rays import RayS, Search

TIE = 1e-6
"""Lead over the largest logit that float32 convolutions cannot tell from zero."""


class Recording(Classifier):
    """Keeps how near one image's queries came to a tie of two logits."""

    def logits(self, images):
        self.asked = super().logits(images)
        return self.asked

    def loop(self, key, step, state, steps, constants=()):
        def recorded(pair, x, y, *others_of_step):
            state = step(pair[0], x, y, *others_of_step)
            own = ops.one_hot(y, self.num_classes, dtype="bool")
            others = ops.max(ops.where(own, -np.inf, self.asked), axis=1)
            lead = ops.sum(ops.where(own, self.asked, 0.0), axis=1) - others
            lead = ops.abs(lead) / ops.max(ops.abs(self.asked), axis=1)
            return state, ops.minimum(pair[1], lead)

        pair = state, ops.convert_to_tensor(self.smallest)
        state, smallest = super().loop(key, recorded, pair, steps, constants)
        self.smallest = ops.convert_to_numpy(smallest)
        return state


def met_a_tie(net, attack, x, y):
    """Return whether rounding decides one of the queries of this image."""
    classifier = Recording(net.model)
    classifier.smallest = np.full(1, np.inf, "float32")
    x, y = ops.convert_to_tensor(x[None]), ops.convert_to_tensor([y], "int32")
    attack.search(classifier, x, y, np.array([True]))
    return classifier.smallest[0] <= TIE


def test_search(golden_net):
    names = sorted(golden_net.arrays("details"))
    budgets = [int(m[1]) for n in names if (m := re.fullmatch(r"rays(\d+)_dist", n))]
    if not budgets:
        pytest.skip(f"no rays in {golden_net.id}_details.npz")
    index = golden_net.wanted("details", "index")
    images, labels = golden_net.x[index], golden_net.y[index].astype("int32")
    x, y = ops.convert_to_tensor(images), ops.convert_to_tensor(labels)
    classifier = Classifier.of(golden_net.model, images[:1])
    for queries in budgets:
        attack = RayS(golden_net.epsilon, queries=queries, early_stop=False)
        state = attack.search(classifier, x, y, np.full(len(index), True))
        state = Search(*map(ops.convert_to_numpy, state))
        golden = {
            name: golden_net.wanted("details", f"rays{queries}_{name}")
            for name in ("dist", "stop_queries", "total_queries", "success")
        }
        different = np.abs(state.distance - golden["dist"]) > 1e-6
        different |= np.minimum(state.needed, queries) != golden["stop_queries"]
        different |= state.queries != golden["total_queries"]
        different |= state.fooled != golden["success"]
        assert different.mean() <= 0.02
        for row in np.flatnonzero(different):
            assert met_a_tie(golden_net, attack, images[row], labels[row]), row


def test_flags(golden_net):
    names = sorted(golden_net.arrays("robust_masks"))
    budgets = [int(m[1]) for n in names if (m := re.fullmatch(r"rays(\d+)", n))]
    if not budgets:
        pytest.skip(f"no rays in {golden_net.id}_robust_masks.npz")
    queries = min(budgets)
    wanted = golden_net.wanted("robust_masks", f"rays{queries}")
    attack = RayS(golden_net.epsilon, queries=queries)
    result = attack.run(golden_net.model, golden_net.x, golden_net.y)
    assert np.mean(result.success == ~wanted) >= 0.99
    moved = np.abs(result.x_adv - golden_net.x).max(axis=(1, 2, 3))
    assert moved.max() <= golden_net.epsilon + 1e-6
    assert not result.backwards.any()


def test_final_images(golden_net):
    wanted = golden_net.wanted("details", "rays100_x_final")
    index = golden_net.wanted("details", "index")
    x = ops.convert_to_tensor(golden_net.x[index])
    y = ops.convert_to_tensor(golden_net.y[index], "int32")
    classifier = Classifier.of(golden_net.model, golden_net.x[:1])
    attack = RayS(golden_net.epsilon, queries=100, early_stop=False)
    state = attack.search(classifier, x, y, np.full(len(index), True))
    nearest = ops.convert_to_numpy(state.nearest)
    same = (np.abs(nearest - wanted) <= 1e-6).all(axis=(1, 2, 3))
    assert same.mean() >= 0.98
