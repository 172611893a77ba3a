from __future__ import annotations

import pytest

from launcher.widgets.plot_view import PlotView

EXTENT = (1.0, 101.0)
XS = [1.0, 2.0, 5.0, 50.0, 101.0]


def test_zooming_keeps_the_place_below_the_mouse():
    view = PlotView().zoomed(EXTENT, 0.5, 26.0)

    assert view.window == (13.5, 63.5)
    assert view.zoomed(EXTENT, 0.5, 26.0).window == (19.75, 44.75)


def test_zooming_out_ends_at_the_whole_which_may_grow():
    view = PlotView((90.0, 101.0), 95.0)

    assert view.zoomed(EXTENT, 5.0, 100.0).window == (46.0, 101.0)
    assert view.zoomed(EXTENT, 10.0, 100.0) == PlotView(None, 95.0)


def test_zooming_in_ends_somewhere():
    view = PlotView()
    for _ in range(100):
        view = view.zoomed(EXTENT, 0.5, 50.0)
    first, last = view.window

    assert 0 < last - first == pytest.approx(0.01)


def test_panning_stays_at_the_curves():
    view = PlotView((11.0, 31.0))

    assert view.panned(EXTENT, 0.5).window == (21.0, 41.0)
    assert view.panned(EXTENT, -5.0).window == (1.0, 21.0)
    assert PlotView().panned(EXTENT, 0.5) == PlotView()


def test_the_crosshair_is_at_the_nearest_value():
    assert [PlotView().pointed(XS, x).cross for x in (-9, 1.4, 3.6, 400)] == [
        1,
        1,
        5,
        101,
    ]
    assert PlotView().pointed([], 3.0).cross is None


def test_the_crosshair_goes_from_value_to_value():
    view = PlotView((1.0, 60.0)).stepped(XS, 1, EXTENT)
    assert view.cross == 50.0

    assert view.stepped(XS, -2, EXTENT).cross == 2.0
    assert view.stepped(XS, -9, EXTENT).cross == 1.0
    assert PlotView().stepped([], 1, EXTENT) == PlotView()


def test_the_window_follows_the_crosshair():
    view = PlotView((1.0, 11.0), 5.0)

    assert view.stepped(XS, 1, EXTENT) == PlotView((40.0, 50.0), 50.0)
    assert PlotView((40.0, 50.0), 50.0).stepped(XS, -1, EXTENT) == PlotView(
        (5.0, 15.0), 5.0
    )
