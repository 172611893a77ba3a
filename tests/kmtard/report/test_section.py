from __future__ import annotations

import pytest

from kmtard.report.section import code_parts

pytestmark = pytest.mark.once("jax")


def test_pairs_of_backquotes_are_code_and_a_single_one_is_not() -> None:
    assert code_parts("`a` b") == [("a", True), (" b", False)]
    assert code_parts("it`s") == [("it`s", False)]
