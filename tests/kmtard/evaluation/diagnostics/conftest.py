"""Images for the diagnostics."""

import numpy as np
import pytest

from tests.kmtard.evaluation.diagnostics.nets import SHAPE


@pytest.fixture
def x():
    return np.random.default_rng(1).random((8, *SHAPE), "float32")
