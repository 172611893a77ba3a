"""The widths of the list of runs; the rest is driven on its screen."""

from __future__ import annotations

from itertools import accumulate

import pytest

from kmtard.runs.listing import COLUMNS
from launcher.widgets.run_table import WIDTHS, name_cells


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_name_takes_what_the_columns_leave(width: int) -> None:
    name_width = name_cells(width, longest=30)

    assert 8 <= name_width <= 30
    widths = [WIDTHS[column.title] for column in COLUMNS]
    widths[1] = name_width
    ends = list(accumulate(width + 1 for width in widths))
    # The edge of the list cuts through no column.
    assert width in ends or name_width == 30
