"""The case of an engineer: his model, his images, ten minutes on two cores."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

import kmtard
from tests.hardening import shapes

pytestmark = pytest.mark.once("jax")

LARGEST_LOSS = 0.05
BY_HAND = 0.693
"""W-Robust accuracy that the engineer reached without `harden`, in hours of work."""


@pytest.mark.slow
def test_ten_minutes_beat_the_work_by_hand(tmp_path: Path) -> None:
    """Where the clean accuracy drops by more, the page shows the balances instead."""
    photos = shapes.write(tmp_path / "photos")
    shapes.train_model(photos, tmp_path / "model.keras")
    found = kmtard.harden(
        tmp_path / "model.keras",
        photos,
        epsilon=8 / 255,
        hours=1 / 6,
        runs_dir=tmp_path / "runs",
    )
    assert found.after["robust"] > found.before["robust"]
    assert found.after["w_robust"] > found.before["w_robust"]
    lost = found.before["clean"] - found.after["clean"]
    page = found.report.read_text()
    if lost > LARGEST_LOSS or found.after["w_robust"] <= BY_HAND:
        assert "mixture, 50% hardened" in page
    images, labels = shapes.read(photos, "test")
    hardened = keras.models.load_model(found.model)
    answers = hardened.predict(images, verbose=0)
    np.testing.assert_allclose(answers.sum(-1), 1, atol=1e-4)
    right = float(np.mean(answers.argmax(-1) == labels))
    assert right == pytest.approx(found.after["clean"], abs=0.01)


def test_the_images_are_the_same_in_each_run(tmp_path: Path) -> None:
    one, two = (
        shapes.write(tmp_path / name, train=2, test=1, side=16) for name in "ab"
    )
    for part, count in (("train", 8), ("test", 4)):
        (x, y), (u, v) = shapes.read(one, part), shapes.read(two, part)
        np.testing.assert_array_equal(x, u)
        assert (y == v).all() and len(y) == count
        assert x.shape[1:] == (16, 16, 3)
