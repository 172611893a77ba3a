"""A command line without some of its options."""

from __future__ import annotations

import pytest

from kmtard.runs.command_line import without_options

pytestmark = pytest.mark.once("torch")


@pytest.mark.parametrize(
    "words",
    [
        ["evaluate", "--suite", "paper", "run"],
        ["evaluate", "run", "--suite=paper"],
        ["evaluate", "run"],
    ],
)
def test_options_and_their_values_are_left_out(words: list[str]) -> None:
    assert without_options(words, "--suite", "--attacks") == ["evaluate", "run"]


def test_other_options_stay() -> None:
    words = ["run", "--attacks-file", "a", "--strict"]
    assert without_options(words, "--attacks") == words
