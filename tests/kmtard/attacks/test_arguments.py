"""What constructor arguments may be."""

import numpy as np
import pytest

from kmtard.attacks.arguments import one_of, real, whole

pytestmark = pytest.mark.once("torch")
INF = float("inf")


@pytest.mark.parametrize(
    "interval, inside, outside",
    [
        ("[0, inf)", [0, 1, 0.5, np.float32(2)], [-1e-9, INF, float("nan")]),
        ("[0, inf]", [0, INF], [-INF, float("nan")]),
        ("(0, 1]", [1e-9, 1], [0, 1.1]),
        ("(0, 1)", [0.5], [0, 1]),
        ("[1, inf)", [1, 2], [0.9]),
    ],
)
def test_real(interval, inside, outside):
    for value in inside:
        assert real("x", value, interval) is value
    for value in [*outside, "1", None, [0.5]]:
        with pytest.raises(ValueError, match="`x` must be a number in .*Received"):
            real("x", value, interval)


@pytest.mark.parametrize("value", [2, 2.0, np.int64(2)])
def test_whole_numbers_become_int(value):
    assert type(whole("x", value, 2)) is int and whole("x", value, 2) == 2


@pytest.mark.parametrize("value", [1, 2.5, INF, float("nan"), "2", None])
def test_not_whole(value):
    with pytest.raises(ValueError, match="`x` must be a whole number >= 2. Received"):
        whole("x", value, 2)


def test_one_of():
    assert one_of("x", "a", ("b", "a")) == "a"
    for value in ("c", 1, ["a"]):
        with pytest.raises(ValueError, match=r"`x` must be one of \['a', 'b'\]"):
            one_of("x", value, {"b": 1, "a": 2})
