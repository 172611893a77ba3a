from __future__ import annotations

import io
from xml.etree import ElementTree

import pytest
from matplotlib.figure import Figure
from PIL import Image

from kmtard.report import drawings
from kmtard.report.drawings import (
    Bars,
    BarSeries,
    Curve,
    Curves,
    Drawing,
    Gallery,
    Grid,
    Grids,
    Panel,
    Plane,
    Point,
    Tile,
    rendered,
)
from kmtard.runs import RunError

pytestmark = pytest.mark.once("jax")

GRID = Grid("clean", ["a_b", "$c$"], ["0", "1"], [[90.0, 10.0], [None, 60.0]], "class")
DRAWINGS: dict[str, Drawing] = {
    "curves": Curves(
        panels=[
            Panel("loss", [Curve("_a", [1, 2, 3], [1.0, None, 0.5], [0.1, None, 0.2])]),
            Panel("weight", [Curve("$b$", [1], [float("inf")])]),
            Panel("accuracy", [Curve("_a", [0, 0.1], [90, 50])], "epsilon"),
        ],
        caption="curves",
    ),
    "bars": Bars(
        groups=["fgsm", "a_b"],
        series=[
            BarSeries("$b$", [70.0, None], [1.0, None]),
            BarSeries("_a", [71.0, 69.0], [None, None]),
        ],
        y_label="%",
        caption="bars",
    ),
    "plane": Plane(
        points=[Point("_a", 90, 50, 1, 2), Point("$b$", 88.2, 54.4, is_paper=True)],
        y_label="%",
        caption="plane",
    ),
    "one point": Plane(points=[Point("_a", 90, 50)], y_label="%", caption="plane"),
    "grids": Grids(grids=[GRID, GRID], caption="grids"),
    "beside": Grids(grids=[GRID, GRID], caption="grids", is_beside=True),
    "gallery": Gallery(
        rows=[
            ("gray", [Tile([[0, 255], [128, 64]], "$3$")]),
            ("color", [Tile([[[0, 1, 2]]]), Tile([[[9, 9, 9]]])]),
        ],
        caption="gallery",
    ),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_drawing_is_an_svg_with_its_texts(name: str) -> None:
    content = rendered(DRAWINGS[name], "svg")
    root = ElementTree.fromstring(content)
    texts = "".join(root.itertext())
    for label in {"curves": ["_a", "$b$"], "bars": ["_a", "$b$"], "grids": ["$c$"]}.get(
        name, []
    ):
        assert label in texts
    # The same drawing gives the same file.
    assert content == rendered(DRAWINGS[name], "svg")


def test_intervals_and_shares_in_percent() -> None:
    names = [f"a class with a long name {number}" for number in range(10)]
    values = [float(10 * number) for number in range(10)]
    intervals = [(5.0, 1.0), *[None] * 9]
    bars = Bars(
        groups=names,
        series=[BarSeries("clean", values, intervals)],
        y_label="%",
        caption="",
        is_share=True,
    )
    figure = Figure()
    bars.draw(figure)
    [axes] = figure.axes
    assert axes.get_ylim() == (0, 102)
    # Names that would overlap are written upwards.
    assert {each.get_rotation() for each in axes.get_xticklabels()} == {90}
    curve = Curve("clean", [0, 1], [50.0, 40.0], [(20.0, 5.0), (1.0, 1.0)])
    figure = Figure()
    Curves(panels=[Panel("%", [curve], "epsilon")], caption="").draw(figure)
    [band] = figure.axes[0].collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (30, 55)


def test_a_png_has_the_size_in_inches() -> None:
    drawing = DRAWINGS["plane"]
    image = Image.open(io.BytesIO(rendered(drawing, "png")))
    assert image.size == tuple(int(side * drawings.RESOLUTION) for side in drawing.size)
    clear = Image.open(io.BytesIO(rendered(drawing, "png", is_clear=True)))
    assert clear.getpixel((0, 0))[3] == 0 and image.getpixel((0, 0))[3] == 255


def test_series_differ_without_color() -> None:
    looks = {
        (drawings.MARKERS[look % 8], drawings.LINES[look // 8 % 4])
        for look in range(32)
    }
    assert len(looks) == 32
    assert len(set(drawings.HATCHES)) == len(drawings.COLORS) == len(drawings.MARKERS)


def test_a_full_disk_is_a_readable_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(self: Plane, figure: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(Plane, "draw", fail)
    with pytest.raises(RunError, match="Cannot draw a figure: No space left"):
        rendered(DRAWINGS["plane"], "svg")
