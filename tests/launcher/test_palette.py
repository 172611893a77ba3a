from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.palette import assign_looks

keys = st.lists(st.sampled_from("abcdefgh"), max_size=8, unique=True)


@settings(deadline=None)
@given(st.lists(keys, max_size=8), st.integers(1, 5))
def test_looks_are_different_and_stay_where_they_can(comparisons, count):
    looks: dict[str, int] = {}
    for compared in comparisons:
        before = dict(looks)
        assign_looks(compared, looks, count)

        assert all(0 <= looks[key] < count for key in compared)
        if len(compared) <= count:
            assert len({looks[key] for key in compared}) == len(compared)
        known = [before[key] for key in compared if key in before]
        if len(set(known)) == len(known):
            assert all(looks[key] == before[key] for key in compared if key in before)


def test_looks_do_not_depend_on_the_order():
    looks: dict[str, int] = {}
    assign_looks("ab", looks, 8)
    assign_looks("cba", looks, 8)

    assert looks == {"a": 0, "b": 1, "c": 2}
