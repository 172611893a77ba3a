from __future__ import annotations

import tomllib

import pytest

from launcher.widgets.recipe_preview import wrapped
from tests.run_folders import RECIPE


@pytest.mark.parametrize("width", [20, 40, 77, 200])
def test_wrapped_comments_stay_comments_of_this_width(width: int) -> None:
    text = RECIPE.read_text()
    lines = [wrapped(line, width) for line in text.splitlines()]
    shown = "\n".join(lines)
    assert tomllib.loads(shown) == tomllib.loads(text)
    assert "".join(shown.split()).replace("#", "") == "".join(text.split()).replace(
        "#", ""
    )
    new = [line for line, old in zip(lines, text.splitlines(), strict=True)
           if line != old]  # fmt: skip
    assert all(len(part) <= width for line in new for part in line.split("\n"))
    assert bool(new) == (width < 100)


def test_other_lines_are_left_to_the_screen() -> None:
    assert wrapped("name = '" + 90 * "x" + "'", 40) == "name = '" + 90 * "x" + "'"
    assert wrapped("# " + "word " * 20, 0) == "# " + "word " * 20
    assert wrapped("  # one two three", 12) == "  # one two\n  # three"
