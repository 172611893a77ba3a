from __future__ import annotations

import re
import subprocess
import sys

import pytest

from kmtard.runs import RunError
from launcher.palette import STYLES
from launcher.runs.figures import MARKERS, SUFFIXES, write_figure
from launcher.widgets.axes import EPOCHS, XAxis
from launcher.widgets.metric_plot import PlotSeries

NAN = float("nan")


def series(label="a", y=(0.1, 0.2, 0.3), number=0):
    return PlotSeries(label, tuple(range(len(y))), y, STYLES[number])


def write(path, *shown, **options):
    given = {"x_axis": EPOCHS, "y_label": "w_robust_accuracy in %", **options}
    write_figure(path, shown, **given)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("ending", "start"), [(".svg", b"<?xml"), (".png", b"\x89PNG\r\n")]
)
def test_the_ending_chooses_the_format(tmp_path, ending, start):
    assert ending in SUFFIXES
    assert write(tmp_path / f"plot{ending}", series()).startswith(start)


def test_labels_are_text_and_no_formula(tmp_path):
    labels = ["_hidden", "$x^2$ & <b>", "実験-蒸留", "a\udcff\x1b[31m"]
    shown = [series(label, number=i) for i, label in enumerate(labels)]
    text = write(tmp_path / "plot.svg", *shown).decode()

    for label in ("_hidden", "$x^2$ &amp; &lt;b&gt;", "実験-蒸留", "a��[31m"):
        assert f">{label}<" in text
    assert "w_robust_accuracy in %" in text


def test_ticks_are_whole_epochs(tmp_path):
    text = write(tmp_path / "plot.svg", series(y=(50.0, 51.0) * 10)).decode()

    assert ">12<" in text and ">2.5<" not in text


def tick_texts(text):
    """Return the texts of a figure that are numbers."""
    return {float(found) for found in re.findall(r">(-?\d+(?:\.\d+)?)</text>", text)}


@pytest.mark.parametrize("count", [1, 2, 3, 5, 13, 60])
def test_no_tick_is_a_part_of_an_epoch(tmp_path, count):
    one = PlotSeries("a", range(1, count + 1), [50.0] * count, STYLES[0])
    text = write(tmp_path / "plot.svg", one).decode()
    below = text[: text.index('id="matplotlib.axis_2"')]

    assert tick_texts(below) and all(x.is_integer() for x in tick_texts(below))


def test_the_axes_are_those_of_the_screen(tmp_path):
    one = PlotSeries("a", (1, 2, 3, 4), (1e-3, 0.1, 10.0, 1e3), STYLES[0])
    text = write(
        tmp_path / "plot.svg",
        one,
        x_axis=XAxis("hours", is_whole=False),
        is_log=True,
        window=(2, 3),
    ).decode()

    assert ">hours<" in text
    below = text[: text.index('id="matplotlib.axis_2"')]
    assert tick_texts(below) and all(2 <= x <= 3 for x in tick_texts(below))
    # Only values in the window have a height, in powers of ten.
    assert "10" in text and "−3" not in text


def test_colours_are_those_of_the_screen(tmp_path):
    text = write(tmp_path / "plot.svg", *(series(number=i) for i in range(8))).decode()

    for style in STYLES:
        assert "#{:02x}{:02x}{:02x}".format(*style.colour) in text
    assert {style.marker for style in STYLES} <= MARKERS.keys()


def test_a_value_that_is_missing_is_a_gap(tmp_path):
    whole = write(tmp_path / "whole.svg", series(y=(0.1, 0.2, 0.3, 0.4)))
    broken = write(
        tmp_path / "broken.svg",
        series("a", (0.1, 0.2, None, NAN, float("inf"), 0.3, 0.4)),
        series("b", (), 1),
        series("c", (NAN, None), 2),
    )

    def strokes(picture):
        colour = "#{:02x}{:02x}{:02x}".format(*STYLES[0].colour)
        lines = re.findall(r'd="([^"]*)"[^>]*clip-path[^>]*' + colour, picture.decode())
        return lines[0].count("M ")

    assert (strokes(whole), strokes(broken)) == (1, 2)


def test_the_same_figure_is_the_same_file(tmp_path):
    first, second = tmp_path / "first.svg", tmp_path / "second.svg"

    assert write(first, series()) == write(second, series())


def test_no_curve_is_an_empty_figure(tmp_path):
    assert write(tmp_path / "plot.png").startswith(b"\x89PNG")


def test_what_cannot_be_written_is_said(tmp_path):
    with pytest.raises(RunError, match="Cannot write"):
        write(tmp_path / "none" / "plot.svg", series())


def test_matplotlib_is_loaded_for_a_figure_alone():
    code = (
        "import sys\n"
        "from kmtard.runs import comparison, tables\n"
        "from launcher.runs import figures\n"
        "sys.exit('matplotlib' in sys.modules or 'numpy' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_home_without_room_for_a_cache_is_no_obstacle(tmp_path):
    code = (
        "import sys; from pathlib import Path\n"
        "from launcher.runs.figures import write_figure\n"
        "from launcher.widgets.axes import EPOCHS\n"
        "write_figure(Path(sys.argv[1]), (), x_axis=EPOCHS, y_label='y')"
    )
    path = tmp_path / "plot.svg"
    (tmp_path / "home").write_text("a file")
    environment = {"HOME": str(tmp_path / "home"), "PATH": ""}
    ended = subprocess.run(
        [sys.executable, "-c", code, path], env=environment, check=False
    )

    assert ended.returncode == 0
    assert path.exists()
