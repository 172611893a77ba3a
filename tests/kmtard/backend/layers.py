"""Run a function with Keras's layers and with the faster ones, and compare."""

import numpy as np

from kmtard import backend
from kmtard.backend.fast_layers import fast_layers

TOLERANCE = {"float32": 1e-5, "mixed_bfloat16": 2e-2}


def both(function, *args):
    """The results of a function with Keras's layers and with the faster ones."""
    with fast_layers():
        faster = function(*args)
    return function(*args), faster


def assert_close(pairs, tolerance):
    kept, faster = pairs
    for ours, theirs in zip(faster, kept, strict=True):
        ours, theirs = (backend.to_numpy(each) for each in (ours, theirs))
        assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
        np.testing.assert_allclose(
            ours, theirs, rtol=tolerance, atol=tolerance * abs(theirs).max()
        )
