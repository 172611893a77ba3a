"""FAB-T against the authors' code."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from keras import ops

from kmtard.attacks.classifier import Classifier
from kmtard.attacks.fab import FAB, Descent

SHARE = 0.999
"""Of the pairs of image and target: near a boundary a rounding decides a step."""


@functools.cache
def searched(net, targets):
    """Return the distances (images, targets), and the points that were found."""
    index = net.wanted("details", "index")
    x = ops.convert_to_tensor(net.x[index])
    y = ops.convert_to_tensor(net.y[index], "int32")
    classifier = Classifier.of(net.model, net.x[:1])
    attack = FAB(float("inf"), targets=targets, early_stop=False)
    ranks = np.argsort(-ops.convert_to_numpy(classifier.logits(x)), axis=1)
    everywhere, nothing = np.full(len(index), True), ops.full(y.shape, np.inf)
    runs = [
        attack.descend(
            classifier,
            Descent(x, x, nothing),
            x,
            y,
            ops.convert_to_tensor(ranks[:, rank], "int32"),
            everywhere,
        )[0]
        for rank in range(1, 1 + targets)
    ]
    return tuple(
        np.stack([ops.convert_to_numpy(value) for value in values], axis=1)
        for values in zip(*((run.distance, run.nearest) for run in runs), strict=True)
    )


def test_distance_of_every_target(golden_net):
    wanted = golden_net.wanted("details", "fab_t_linf_per_target")
    distance, _ = searched(golden_net, wanted.shape[1])
    same = np.isclose(distance, wanted, rtol=0, atol=1e-4)
    assert same.mean() >= 0.995
    # A nearer point is accepted, and any point if the golden file has none.
    assert np.mean(same | (distance < wanted)) >= SHARE


def test_nearest_point(golden_net):
    wanted = golden_net.wanted("details", "fab_t_min_linf")
    targets = golden_net.wanted("details", "fab_t_linf_per_target").shape[1]
    distance, _ = searched(golden_net, targets)
    nearest = distance.min(axis=1)
    agrees = np.isclose(nearest, wanted, rtol=0, atol=1e-4) | (nearest < wanted)
    assert np.mean(~agrees) <= targets * (1 - SHARE)


def test_points_are_what_the_distances_say(golden_net):
    targets = golden_net.wanted("details", "fab_t_linf_per_target").shape[1]
    distance, points = searched(golden_net, targets)
    assert points.min() >= 0 and points.max() <= 1
    index = golden_net.wanted("details", "index")
    moved = np.abs(points - golden_net.x[index][:, None]).max(axis=(2, 3, 4))
    found = np.isfinite(distance)
    np.testing.assert_allclose(moved[found], distance[found], atol=1e-6)
    logits = ops.convert_to_numpy(golden_net.model(points[found]))
    labels = golden_net.y[index][np.nonzero(found)[0]]
    wrong = logits.argmax(axis=1) != labels
    # On the boundary another batch size may round to the other side.
    assert wrong.mean() >= 0.99


def test_flags(golden_net):
    wanted = golden_net.wanted("robust_masks", "aa_fab_t")
    targets = golden_net.wanted("details", "fab_t_linf_per_target").shape[1]
    distance, _ = searched(golden_net, targets)
    robust = np.zeros(len(golden_net.x), bool)
    index = golden_net.wanted("details", "index")
    robust[index] = distance.min(axis=1) > golden_net.epsilon
    assert abs(robust.mean() - wanted.mean()) <= 0.005
    assert np.mean(robust == wanted) >= 0.98


def test_the_attack_fools_the_same_images(golden_net):
    wanted = golden_net.wanted("robust_masks", "aa_fab_t")[:64]
    x, y = golden_net.x[:64], golden_net.y[:64]
    result = FAB(golden_net.epsilon, targets=2).run(golden_net.model, x, y)
    more = FAB(golden_net.epsilon).run(golden_net.model, x, y)
    assert (result.success <= more.success).all()
    assert np.mean(more.success == ~wanted) >= 0.98
    moved = np.abs(more.x_adv - x).max(axis=(1, 2, 3))
    assert moved.max() <= golden_net.epsilon + 1e-6
    assert more.forwards.max() <= 9 * 203 + 2
    assert more.backwards.max() <= 900
    assert pytest.approx(0) == moved[~more.success].max()
