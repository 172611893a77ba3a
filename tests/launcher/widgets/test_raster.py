from __future__ import annotations

from rich.text import Text

from launcher.widgets.raster import Raster

RED, BLUE = (255, 0, 0), (0, 0, 255)


def colours(text: Text) -> list[tuple[str, str]]:
    """Return each part of a text and its color."""
    return [
        (text.plain[span.start : span.end], str(span.style.color.triplet.hex))
        for span in text.spans
        if span.style.color
    ]


def test_a_line_has_both_ends() -> None:
    raster = Raster(4, 1)
    raster.line(0, 0, 7, 0, RED)
    assert raster.row(0).plain == "⠉⠉⠉⠉"
    raster.line(7, 3, 7, 3, RED)
    assert raster.row(0).plain == "⠉⠉⠉⢉"


def test_what_is_outside_is_not_drawn() -> None:
    raster = Raster(2, 1)
    raster.line(-9, -9, 20, 20, RED)
    for column, row in ((-1, 0), (2, 0), (0, 1), (0, -1)):
        raster.sign(column, row, "x", RED)
        raster.back(column, row, "x", RED)
    raster.ground(1, -5, 9, BLUE)
    assert raster.row(0).plain == "⠑⢄"
    assert "x" not in raster.row(0).plain


def test_signs_are_in_front_and_backs_behind() -> None:
    raster = Raster(3, 1)
    raster.dot(0, 0, RED)
    for column in range(3):
        raster.back(column, 0, "┄", BLUE)
    raster.sign(2, 0, "●", RED)
    raster.dot(4, 0, BLUE)
    assert raster.row(0).plain == "⠁┄●"
    assert not raster.is_signed(0, 0) and raster.is_signed(1, 0)


def test_a_cell_has_the_color_of_the_last_curve() -> None:
    raster = Raster(2, 1)
    raster.line(0, 0, 3, 0, RED)
    raster.dot(2, 3, BLUE)
    assert colours(raster.row(0)) == [("⠉", "#ff0000"), ("⡉", "#0000ff")]


def test_a_ground_is_behind_everything() -> None:
    raster = Raster(2, 2)
    raster.ground(0, 0, 1, BLUE)
    raster.sign(0, 1, "●", RED)
    text = raster.row(1)
    assert text.plain == "● "
    assert text.spans[0].style.bgcolor.triplet.hex == "#0000ff"
    assert raster.row(0).spans[0].style.bgcolor is not None


def test_a_copy_is_drawn_on_alone() -> None:
    raster = Raster(3, 1)
    other = raster.copy()
    other.sign(1, 0, "x", (0, 0, 0))

    assert (str(raster.row(0)), str(other.row(0))) == ("   ", " x ")
    assert not raster.is_signed(1, 0) and other.is_signed(1, 0)
    assert not raster.is_signed(9, 9)
