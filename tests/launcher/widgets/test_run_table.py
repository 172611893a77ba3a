"""The widths of the list of runs; the rest is driven on its screen."""

from __future__ import annotations

import pytest

from kmtard.runs.listing import BY_TITLE
from launcher.widgets.run_table import COMFORTABLE, FIRST, LEAST, WIDTHS, name_cells


@pytest.mark.parametrize("longest", [5, 24, 60])
@pytest.mark.parametrize(
    "hidden", [(), ("method", "clean", "note"), tuple(BY_TITLE)[2:]]
)
def test_a_wider_list_never_shows_less_of_a_name(
    longest: int, hidden: tuple[str, ...]
) -> None:
    titles = [title for title in BY_TITLE if title not in hidden]
    names = [name_cells(width, longest, WIDTHS, titles) for width in range(30, 400)]

    assert names == sorted(names)
    assert names[0] >= 8 and names[-1] == max(8, longest)


def test_the_first_columns_fit_beside_a_name_at_80_columns() -> None:
    taken = sum(WIDTHS[title] + 1 for title in ("state", *FIRST))

    name = name_cells(80, 60)
    assert name >= LEAST and taken + name + 1 <= 80
    # Before further columns, a name gets comfortable.
    assert name_cells(80 + COMFORTABLE, 60) == COMFORTABLE
