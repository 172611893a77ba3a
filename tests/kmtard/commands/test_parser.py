"""What argparse lets through, and what it must not."""

from __future__ import annotations

import pytest

from kmtard.commands.parser import Parser

pytestmark = pytest.mark.once("torch")


def parser() -> Parser:
    made = Parser(prog="kmtard fit")
    made.add_argument("recipe")
    made.add_argument("--set", action="append", default=[])
    made.add_argument("--method")
    made.add_argument("--smoke", action="store_true")
    return made


@pytest.mark.parametrize(
    "words",
    [["a", "--set", "--"], ["--method", "--", "a"], ["a", "--set", "b", "--set", "--"]],
)
def test_two_dashes_are_no_value(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as error:
        parser().parse_args(words)
    assert error.value.code == 2
    assert "expected a value. Received: --." in capsys.readouterr().err


def test_two_dashes_end_the_options() -> None:
    found = parser().parse_args(["--smoke", "--set", "b=1", "--", "-recipe"])
    assert (found.recipe, found.set, found.smoke) == ("-recipe", ["b=1"], True)
