"""Constructor arguments that must be a name from a table."""

import pytest

from kmtard.attacks.arguments import one_of

pytestmark = pytest.mark.once("torch")


def test_one_of():
    assert one_of("x", "a", ("b", "a")) == "a"
    for value in ("c", 1, ["a"]):
        with pytest.raises(ValueError, match=r"`x` must be one of \['a', 'b'\]"):
            one_of("x", value, {"b": 1, "a": 2})
