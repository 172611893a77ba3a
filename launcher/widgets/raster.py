"""A picture of characters: dots in Braille, signs, and backgrounds."""

from __future__ import annotations

from collections.abc import Iterator

from rich.color import Color
from rich.style import Style
from rich.text import Text

Colour = tuple[int, int, int]
"""Red, green, blue, 0 to 255."""

ACROSS, DOWN = 2, 4  # dots of a cell
BLANK = 0x2800
BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Row and column of a dot in its cell -> its bit in the Braille character."""


class Raster:
    """Cells that are drawn on from the back to the front.

    A sign replaces the dots of its cell, and is replaced by later signs only. Dots of
    several curves in one cell have the color of the last one.

    Args:
        columns: number of cells in a row.
        rows: number of rows.

    Example:
        >>> raster = Raster(3, 1)
        >>> raster.line(0, 3, 5, 3, (0, 0, 0))
        >>> raster.sign(1, 0, "x", (0, 0, 0))
        >>> str(raster.row(0))
        '⣀x⣀'
    """

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        size = columns * rows
        self._dots = bytearray(size)
        self._signs = [""] * size
        self._colours: list[Colour | None] = [None] * size
        self._grounds: list[Colour | None] = [None] * size

    def copy(self) -> Raster:
        """Return a raster that is drawn on without changing this one."""
        other = Raster(self.columns, 0)
        other.rows = self.rows
        other._dots = self._dots.copy()
        other._signs, other._colours = self._signs.copy(), self._colours.copy()
        other._grounds = self._grounds.copy()
        return other

    def dot(self, x: int, y: int, colour: Colour) -> None:
        """Draw a dot; one outside is not drawn.

        Args:
            x: from the left, in dots.
            y: from the top, in dots.
            colour: of the dot.
        """
        if not (0 <= x < ACROSS * self.columns and 0 <= y < DOWN * self.rows):
            return
        cell = y // DOWN * self.columns + x // ACROSS
        self._dots[cell] |= BITS[y % DOWN][x % ACROSS]
        self._colours[cell] = colour

    def line(self, x0: int, y0: int, x1: int, y1: int, colour: Colour) -> None:
        """Draw a straight line between two dots, both included."""
        steps = max(abs(x1 - x0), abs(y1 - y0))
        for step in range(steps + 1):
            share = step / steps if steps else 0.0
            self.dot(
                round(x0 + share * (x1 - x0)), round(y0 + share * (y1 - y0)), colour
            )

    def sign(self, column: int, row: int, sign: str, colour: Colour) -> None:
        """Put a character of one cell; one outside is not drawn."""
        if 0 <= column < self.columns and 0 <= row < self.rows:
            cell = row * self.columns + column
            self._signs[cell], self._colours[cell] = sign, colour

    def back(
        self, column: int, row: int, sign: str, colour: Colour, *, over: str = ""
    ) -> None:
        """Put a character of one cell, unless something is there.

        Args:
            column: of the cell; one outside is not drawn.
            row: of the cell.
            sign: the character.
            colour: of the character.
            over: characters that are replaced.
        """
        if 0 <= column < self.columns and 0 <= row < self.rows:
            cell = row * self.columns + column
            if not self._dots[cell] and self._signs[cell] in ("", *over):
                self.sign(column, row, sign, colour)

    def ground(self, column: int, top: int, bottom: int, colour: Colour) -> None:
        """Give cells of a column a background, from one row to another."""
        for row in range(max(0, top), min(self.rows - 1, bottom) + 1):
            self._grounds[row * self.columns + column] = colour

    def is_signed(self, column: int, row: int) -> bool:
        """Return whether a cell has a sign; one outside has none."""
        is_inside = 0 <= column < self.columns and 0 <= row < self.rows
        return is_inside and bool(self._signs[row * self.columns + column])

    def row(self, row: int) -> Text:
        """Return a row of the picture."""
        text = Text()
        for part, colour, ground in self._runs(row):
            style = Style(
                color=Color.from_rgb(*colour) if colour else None,
                bgcolor=Color.from_rgb(*ground) if ground else None,
            )
            text.append(part, style)
        return text

    def _runs(self, row: int) -> Iterator[tuple[str, Colour | None, Colour | None]]:
        """Yield neighbouring cells that look alike together."""
        part = ""
        looks: tuple[Colour | None, Colour | None] = None, None
        for cell in range(row * self.columns, (row + 1) * self.columns):
            dots, sign = self._dots[cell], self._signs[cell]
            char = sign or (chr(BLANK + dots) if dots else " ")
            found = (self._colours[cell] if char != " " else None, self._grounds[cell])
            if found != looks and part:
                yield part, *looks
                part = ""
            part, looks = part + char, found
        if part:
            yield part, *looks
