"""An image drawn with characters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.strip import Strip
from textual.widget import Widget

if TYPE_CHECKING:
    from PIL.Image import Image

UPPER = "▀"
SHADES = " ░▒▓█"


class HalfBlocks(Widget):
    """An image of two pixels per cell, as large as fits and never distorted.

    It takes and has what the pictures of `launcher.graphics` have: `image`.
    """

    DEFAULT_CSS = """
    HalfBlocks { width: 1fr; height: 1fr; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._image: Image | None = None
        self._lines: list[Strip] = []

    @property
    def image(self) -> Image | None:
        """The image, or None for nothing."""
        return self._image

    @image.setter
    def image(self, image: Image | None) -> None:
        self._image = image
        self._draw()

    def on_resize(self) -> None:
        """Draw for another size."""
        self._draw()

    def _draw(self) -> None:
        self._lines = []
        if self._image is not None and self.size.width and self.size.height:
            image = scaled(self._image, self.size)
            # The filter that removes all colors would leave the same block everywhere.
            plain = self.app.no_color and self.app.native_ansi_color
            self._lines = _shades(image) if plain else _blocks(image)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Return a line of the image, or an empty one below it."""
        line = self._lines[y] if y < len(self._lines) else Strip([])
        line = line.extend_cell_length(self.size.width)
        return line.apply_style(self.rich_style)


def scaled(image: Image, room: Size) -> Image:
    """Return an image for a number of cells: each pixel is half a cell.

    A small image is enlarged by a whole number, so that its pixels stay equal squares.

    Args:
        image: of any mode.
        room: the cells.
    """
    from PIL.Image import Resampling

    width, height = image.size
    share = min(room.width / width, 2 * room.height / height)
    if share >= 1:
        size = width * int(share), height * int(share)
        return image.convert("RGB").resize(size, Resampling.NEAREST)
    size = max(1, int(width * share)), max(1, int(height * share))
    return image.convert("RGB").resize(size, Resampling.BOX)


def _blocks(image: Image) -> list[Strip]:
    width, height = image.size
    content = image.tobytes()
    inks: list[Color | None]
    inks = [Color.from_rgb(*content[i : i + 3]) for i in range(0, len(content), 3)]
    lines = []
    for y in range(0, height, 2):
        upper = inks[y * width : (y + 1) * width]
        # Below the last line of an odd number is the background.
        lower = inks[(y + 1) * width : (y + 2) * width] or [None] * width
        styles = map(Style.from_color, upper, lower)
        line = Strip([Segment(UPPER, style) for style in styles], width)
        lines.append(line.simplify())
    return lines


def _shades(image: Image) -> list[Strip]:
    from PIL.Image import Resampling

    width, height = image.width, (image.height + 1) // 2
    levels = image.convert("L").resize((width, height), Resampling.BOX).tobytes()
    texts = [SHADES[level * len(SHADES) // 256] for level in levels]
    return [
        Strip([Segment("".join(texts[y * width : (y + 1) * width]))], width)
        for y in range(height)
    ]
