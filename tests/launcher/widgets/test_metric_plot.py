from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from rich.text import Text
from textual.app import App, ComposeResult
from textual.events import MouseScrollDown, MouseScrollUp
from textual.pilot import Pilot
from textual.widgets import Static

from launcher.palette import STYLES
from launcher.widgets import metric_plot
from launcher.widgets.axes import XAxis
from launcher.widgets.metric_plot import Level, Mark, MetricPlot, PlotSeries
from launcher.widgets.plot_canvas import CROSS, PlotCanvas
from launcher.widgets.plot_view import PlotView
from launcher.widgets.raster import Raster


class Plots(App[None]):
    def compose(self) -> ComposeResult:
        yield MetricPlot("accuracy, %")

    @property
    def plot(self) -> MetricPlot:
        return self.query_one(MetricPlot)

    @property
    def picture(self) -> str:
        return str(self.query_one(PlotCanvas).render())

    @property
    def legend(self) -> str:
        return str(self.query_one("#legend", Static).content)


def series(
    y: Sequence[float | None], label: str = "clean", number: int = 0, **more: bool
) -> PlotSeries:
    return PlotSeries(label, list(range(1, len(y) + 1)), y, STYLES[number], **more)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metric_plot, "PAUSE", 0.0)


@pytest.mark.asyncio
async def test_curves_have_markers_legend_levels_and_marks() -> None:
    app = Plots()
    async with app.run_test(size=(80, 20)) as pilot:
        levels: list[Level] = [("robust teacher", 55.0, STYLES[1])]
        marks: list[Mark] = [("best epoch 3", 3)]
        curves = [series([10, 20, 30, 40]), series([5, 6, 7, 8], "[b]robust", 1)]
        app.plot.set_series(curves, levels, marks)
        await pilot.pause()
        for text in ("● clean 40.00", "■ [b]robust 8.00", "┄ robust teacher 55.00"):
            assert text in app.legend
        assert "│ best epoch 3" in app.legend
        assert all(sign in app.picture for sign in "●■┄│")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("y", "note"),
    [
        ([], "No values yet."),
        ([None, math.nan], "No values yet."),
        ([1.0, math.inf, -math.inf, None, 2.0], "3 not finite"),
        ([1e308, -1e308, 1.0], "2 not finite"),
        ([5e-324, 0.0], "clean 0.00"),
        ([0.5], "clean 0.50"),
        ([7.0] * 5, "clean 7.00"),
        ([1e299, -1e299], "clean -1"),
    ],
)
async def test_values_of_any_kind(y: list[float | None], note: str) -> None:
    app = Plots()
    async with app.run_test(size=(60, 16)) as pilot:
        app.plot.set_series([series(y)])
        await pilot.pause()
        assert note in app.legend
        assert ("●" in app.picture) == (note != "No values yet.")


@pytest.mark.asyncio
async def test_long_curves_keep_their_peaks(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Plots()
    async with app.run_test(size=(80, 20)) as pilot:
        drawn: list[int] = []
        line = Raster.line
        monkeypatch.setattr(
            Raster, "line", lambda *place: drawn.append(1) or line(*place)
        )
        y = [0.0] * 20_000
        y[12_345] = 100.0
        app.plot.set_series([series(y)])
        await pilot.pause()
        # At most four per column of dots.
        assert 0 < len(drawn) <= 4 * 2 * 80
        assert "100" in app.picture
        # The peak reaches the top.
        assert any(is_dot(char) for char in "".join(rows(app)[:2]))


def rows(app: Plots) -> list[str]:
    """Return the curves without their axes."""
    lines = app.picture.splitlines()[:-2]
    return [line.partition("┤" if "┤" in line else "│")[2] for line in lines]


def is_dot(char: str) -> bool:
    return 0x2800 < ord(char) < 0x2900


@pytest.mark.asyncio
@pytest.mark.parametrize("width", [40, 57, 80, 133])
async def test_markers_lie_on_their_lines(width: int) -> None:
    app = Plots()
    y = [10.0, 90.0, 20.0, 70.0, 30.0, 80.0, 35.0, 60.0, 55.0] * 5
    async with app.run_test(size=(width, 20)) as pilot:
        app.plot.set_series([series(y)])
        await pilot.pause()
        with_markers = rows(app)
        app.plot.set_series([series(y, faint=True)])
        await pilot.pause()
        without = rows(app)

    places = [
        (row, column)
        for row, line in enumerate(with_markers)
        for column, char in enumerate(line)
        if char == "●"
    ]
    assert places and all(is_dot(without[row][column]) for row, column in places)


@pytest.mark.asyncio
async def test_a_missing_value_leaves_a_gap() -> None:
    app = Plots()
    async with app.run_test(size=(80, 20)) as pilot:
        app.plot.set_series([series([1.0] * 10 + [None] * 10 + [1.0] * 10)])
        await pilot.pause()
        [line] = [line.rstrip() for line in rows(app) if any(map(is_dot, line))]
        assert "10 not finite" in app.legend

    empty = [
        column for column, char in enumerate(line) if not (is_dot(char) or char == "●")
    ]
    third = len(line) // 3
    assert len(empty) > third - 4
    assert all(third - 4 < column < 2 * third + 4 for column in empty)


@pytest.mark.asyncio
async def test_the_legend_is_of_the_value_that_is_drawn_last() -> None:
    app = Plots()
    async with app.run_test(size=(80, 20)) as pilot:
        app.plot.set_series([series([1.0, 2.0, None])])
        await pilot.pause()
        assert "clean 2.00 at 2" in app.legend


@pytest.mark.asyncio
@pytest.mark.parametrize("size", [(80, 12), (60, 16), (120, 30)])
async def test_every_curve_has_an_entry_in_the_legend(size: tuple[int, int]) -> None:
    app = Plots()
    names = [f"b_mtard-learning_rate-0.1-s{n}-7f3a-fashion_mnist" for n in range(8)]
    async with app.run_test(size=size) as pilot:
        app.plot.set_series(
            [series([1.0, 2.0], name, n) for n, name in enumerate(names)]
        )
        await pilot.pause()
        entries = app.legend.replace("\n", "   ").split("   ")
        labels = {entry.split()[1] for entry in entries}

        assert [entry[0] for entry in entries] == [style.marker for style in STYLES]
        assert len(labels) == 8
        height = app.plot.query_one("#legend").region.height
        assert height == app.legend.count("\n") + 1


@pytest.mark.asyncio
async def test_a_band_is_a_background() -> None:
    app = Plots()
    async with app.run_test(size=(60, 16)) as pilot:
        mean = series([2.0, 2.0, 2.0])
        band = replace(mean, low=(1.0, 1.5, None), high=(3.0, 2.5, None))
        app.plot.set_series([band])
        await pilot.pause()
        text = app.query_one(PlotCanvas).render()
        assert isinstance(text, Text)
        assert any(span.style.bgcolor for span in text.spans if span.style)


@pytest.mark.asyncio
async def test_drawn_twice_a_second_at_most_and_only_if_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metric_plot, "PAUSE", 0.5)
    app = Plots()
    async with app.run_test(size=(60, 16)) as pilot:
        await pilot.pause()
        waits: list[float] = []
        monkeypatch.setattr(
            app.plot, "set_timer", lambda wait, call: waits.append(wait)
        )
        app.plot._drawn_at = metric_plot.time.monotonic()
        drawings = app.plot.drawings
        for last in range(50):
            app.plot.set_series([series([1.0, float(last)])])
        assert app.plot.drawings == drawings and len(waits) == 1 and 0 < waits[0] <= 0.5
        app.plot._draw()
        assert "clean 49.00" in app.legend
        app.plot.set_series([series([1.0, 49.0])])
        assert len(waits) == 1


@pytest.mark.asyncio
async def test_an_unchanged_picture_is_not_made_again() -> None:
    app = Plots()
    async with app.run_test(size=(60, 16)) as pilot:
        app.plot.set_series([series([1.0, 2.0])])
        await pilot.pause()
        canvas = app.query_one(PlotCanvas)
        assert canvas.render() is canvas.render()


@pytest.mark.asyncio
async def test_no_curves_where_there_is_no_room() -> None:
    app = Plots()
    async with app.run_test(size=(60, 16)) as pilot:
        app.plot.set_series([series([1.0, 2.0])])
        for width, height, fits in ((40, 4, False), (10, 10, False), (60, 16, True)):
            await pilot.resize_terminal(width, height)
            await pilot.pause()
            assert app.query_one(PlotCanvas).display == fits


@pytest.mark.asyncio
async def test_every_theme() -> None:
    app = Plots()
    async with app.run_test(size=(60, 16)) as pilot:
        raw = series([3.0, 1.0], "raw", 0, faint=True)
        app.plot.set_series([series([1.0, 2.0]), raw])
        for theme in app.available_themes:
            app.theme = theme
            await pilot.pause()
            assert "●" in app.picture and "raw" not in app.legend


@pytest.mark.asyncio
async def test_without_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = Plots()
    async with app.run_test(size=(60, 16)) as pilot:
        app.plot.set_series([series([1.0, 2.0]), series([2.0, 1.0], "robust", 1)])
        await pilot.pause()
        assert app.no_color and "●" in app.picture and "■" in app.picture


def test_the_palette_is_readable_on_dark_and_light() -> None:
    def light(colour: tuple[int, int, int]) -> float:
        parts = [c / 255 for c in colour]
        linear = [
            c / 12.92 if c < 0.04 else ((c + 0.055) / 1.055) ** 2.4 for c in parts
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for style in STYLES:
        assert (light(style.colour) + 0.05) / (light((30, 30, 30)) + 0.05) > 4
        assert (light((216, 216, 216)) + 0.05) / (light(style.colour) + 0.05) > 2.5
    assert len({style.marker for style in STYLES}) == len(STYLES)


def canvas_of(app: Plots) -> PlotCanvas:
    return app.query_one(PlotCanvas)


async def scroll(pilot: Pilot[None], event: type[MouseScrollUp], x: int) -> None:
    nothing = dict.fromkeys(("delta_x", "delta_y", "button"), 0)
    modifiers = dict.fromkeys(("shift", "meta", "ctrl"), False)
    canvas = pilot.app.query_one(PlotCanvas)
    canvas.post_message(event(canvas, x, 3, **nothing, **modifiers))
    await pilot.pause()


@pytest.mark.asyncio
async def test_the_mouse_moves_the_crosshair() -> None:
    app = Plots()
    async with app.run_test(size=(80, 20)) as pilot:
        curves = [series([1.0, 2.0, None, 4.0]), series([5.0], "b", 1)]
        app.plot.set_series(curves, marks=[("best epoch 1", 1)])
        await pilot.pause()
        legend = app.legend
        await pilot.hover(PlotCanvas, offset=(4, 5))
        await pilot.pause()
        assert app.plot.view.cross == 1.0 and CROSS in app.picture
        assert app.legend == "epoch 1   ● clean 1.00   ■ b 5.00"
        # A missing value stays one, and a curve without the epoch has none there.
        await pilot.hover(PlotCanvas, offset=(53, 5))
        await pilot.pause()
        assert app.legend == "epoch 3   ● clean -   ■ b -"
        await pilot.hover("#legend")
        await pilot.pause()
        assert app.plot.view.cross is None and CROSS not in app.picture
        assert app.legend == legend


@pytest.mark.asyncio
@pytest.mark.parametrize("digits", [2, 5])
async def test_the_values_at_the_crosshair_are_in_one_line(digits: int) -> None:
    app = Plots()
    async with app.run_test(size=(80, 24)) as pilot:
        app.plot.digits = digits
        curves = [
            series([n + 0.12345, 90.0 + n], f"b_mtard-s{n}-7f3a-fashion_mnist", n)
            for n in range(8)
        ]
        app.plot.set_series(curves)
        await pilot.pause()
        height = app.plot.query_one("#legend").region.height
        app.plot.cross(1)
        await pilot.pause()
        line = app.legend.rstrip("\n")
        assert "\n" not in line and len(line) <= 78
        assert all(f"{style.marker} 9" in line for style in STYLES)
        # The curves stay where they are.
        assert app.plot.query_one("#legend").region.height == height


@pytest.mark.asyncio
async def test_the_wheel_zooms_and_dragging_pans() -> None:
    app = Plots()
    async with app.run_test(size=(80, 20)) as pilot:
        app.plot.set_series([series([float(n) for n in range(101)])])
        await pilot.pause()
        for _ in range(4):
            await scroll(pilot, MouseScrollUp, 40)
        window = app.plot.view.window
        assert window is not None and window[1] - window[0] == pytest.approx(40.96)
        assert window[0] > 20 and window[1] < 80
        # The y axis fits what is shown.
        assert "100" not in app.picture
        await pilot.mouse_down(PlotCanvas, offset=(60, 5))
        await pilot.hover(PlotCanvas, offset=(41, 5))
        await pilot.mouse_up(PlotCanvas, offset=(41, 5))
        await pilot.pause()
        moved = app.plot.view.window
        assert moved is not None
        assert moved[0] == pytest.approx(window[0] + 19 / 76 * 40.96, abs=1)
        for _ in range(5):
            await scroll(pilot, MouseScrollDown, 40)
        assert app.plot.view.window is None


@pytest.mark.asyncio
async def test_a_zoomed_curve_ends_at_the_edges_and_keeps_its_gaps() -> None:
    app = Plots()
    async with app.run_test(size=(80, 20)) as pilot:
        y = [1.0] * 40 + [None] * 20 + [1.0] * 40
        app.plot.set_series([series(y)])
        await pilot.pause()
        app.plot.look(PlotView((30.5, 69.5)))
        await pilot.pause()
        [line] = [line for line in rows(app) if any(map(is_dot, line))]
        assert is_dot(line[0]) and is_dot(line.rstrip()[-1])
        assert "    " in line[20:50] and is_dot(line[10]) and is_dot(line[60])


@pytest.mark.asyncio
async def test_a_logarithmic_axis() -> None:
    app = Plots()
    async with app.run_test(size=(80, 20)) as pilot:
        values: list[float | None] = [1e-4, 1e-2, 0.0, -1.0, 1.0]
        app.plot.set_series([series(values)], [("level", -1.0, STYLES[1])], is_log=True)
        await pilot.pause()
        assert all(f"{label}┤" in app.picture for label in ("0.0001", "0.01", "1"))
        assert "2 not above 0" in app.legend and "log axis" in app.legend
        assert "level" not in app.legend
        app.plot.set_series([series([-1.0, 0.0])], is_log=True)
        await pilot.pause()
        assert "No values above 0" in app.legend


@pytest.mark.asyncio
async def test_another_axis_shows_all_of_the_curves() -> None:
    app = Plots()
    async with app.run_test(size=(80, 20)) as pilot:
        one = series([1.0, 2.0, 3.0])
        app.plot.set_series([one])
        await pilot.pause()
        app.plot.cross(1)
        app.plot.zoom(1)
        hours = XAxis("hours", is_whole=False)
        app.plot.set_series([replace(one, x=(0.5, 1.25, 2.0))], x_axis=hours)
        await pilot.pause()
        assert app.plot.view == PlotView()
        assert "hours" in app.picture.splitlines()[-1]
        # On an axis of time, the nearest value counts.
        app.plot.look(PlotView(None, 1.1))
        assert app.legend.startswith("hours: 1.1   ● clean 2.00")


@pytest.mark.asyncio
async def test_a_key_after_another_axis_is_for_its_places(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = Plots()
    async with app.run_test(size=(80, 20)) as pilot:
        one = series([1.0, 2.0, 3.0])
        app.plot.set_series([one])
        await pilot.pause()
        # The next drawing would have to wait.
        monkeypatch.setattr(metric_plot, "PAUSE", 60.0)
        steps = XAxis("step")
        app.plot.set_series([replace(one, x=(390, 780, 1170))], x_axis=steps)
        app.plot.cross(1)
        assert app.plot.view.cross == 1170


@pytest.mark.asyncio
async def test_small_numbers_have_an_exponent() -> None:
    app = Plots()
    async with app.run_test(size=(80, 20)) as pilot:
        app.plot.set_series([series([1.0, 1.2e-5])])
        await pilot.pause()
        assert "clean 1.2e-05" in app.legend
