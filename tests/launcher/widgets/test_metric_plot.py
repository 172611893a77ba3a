from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from textual.app import App, ComposeResult
from textual.widgets import Static
from textual_plotext import PlotextPlot

from launcher.palette import STYLES
from launcher.widgets import metric_plot
from launcher.widgets.metric_plot import Level, Mark, MetricPlot, PlotSeries


class Plots(App[None]):
    def compose(self) -> ComposeResult:
        yield MetricPlot("accuracy, %")

    @property
    def plot(self) -> MetricPlot:
        return self.query_one(MetricPlot)

    @property
    def picture(self) -> str:
        return str(self.query_one(PlotextPlot).render())

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
async def test_values_that_would_take_plotext_down(
    y: list[float | None], note: str
) -> None:
    app = Plots()
    async with app.run_test(size=(60, 16)) as pilot:
        app.plot.set_series([series(y)])
        await pilot.pause()
        assert note in app.legend
        assert ("●" in app.picture) == (note != "No values yet.")


@pytest.mark.asyncio
async def test_long_curves_are_thinned_and_keep_their_peaks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = Plots()
    async with app.run_test(size=(80, 20)) as pilot:
        drawn: list[int] = []
        plt = app.query_one(PlotextPlot).plt
        plot = plt.plot
        monkeypatch.setattr(
            plt, "plot", lambda x, y, **rest: drawn.append(len(x)) or plot(x, y, **rest)
        )
        y = [0.0] * 20_000
        y[12_345] = 100.0
        app.plot.set_series([series(y)])
        await pilot.pause()
        assert drawn and max(drawn) <= 2 * 80
        assert "100" in app.picture


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
        canvas = app.query_one(PlotextPlot)
        assert canvas.render() is canvas.render()


@pytest.mark.asyncio
async def test_no_curves_where_there_is_no_room() -> None:
    app = Plots()
    async with app.run_test(size=(60, 16)) as pilot:
        app.plot.set_series([series([1.0, 2.0])])
        for width, height, fits in ((40, 4, False), (10, 10, False), (60, 16, True)):
            await pilot.resize_terminal(width, height)
            await pilot.pause()
            assert app.query_one(PlotextPlot).display == fits


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
