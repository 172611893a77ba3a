from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from textual.widgets import Input, Select, Static

from kmtard.runs import EventWriter, Run
from launcher.app import LauncherApp
from launcher.palette import STYLES
from launcher.screens.compare import CompareScreen
from launcher.screens.export import ExportScreen
from launcher.settings import Settings
from launcher.widgets.metric_plot import MetricPlot
from tests.launcher.pilots import screen_text, until

pytestmark = pytest.mark.asyncio

RECIPE = '[method]\nname = "{}"\n[runtime]\nseed = {}\n'


@pytest.fixture(autouse=True)
def looks(monkeypatch):
    monkeypatch.setattr(CompareScreen, "looks", {})


@pytest.fixture
def make(make_run):
    def make(name, method="mtard", seed=0, **options):
        return make_run(name, recipe=RECIPE.format(method, seed), **options)

    return make


@pytest.fixture
def show(tmp_path):
    @asynccontextmanager
    async def show(runs, size=(120, 36)):
        settings = Settings(tmp_path / "launch.json")
        app = LauncherApp(tmp_path / "runs", settings=settings)
        async with app.run_test(size=size) as pilot:
            app.compare(runs)
            await until(pilot, lambda: getattr(app.screen, "_runs", runs) or not runs)
            yield pilot

    return show


def shown(pilot, name="#figures"):
    return pilot.app.screen.query_one(name).shown


def plotted(pilot):
    return pilot.app.screen.query_one(MetricPlot)._series


async def test_curves_figures_and_settings_are_side_by_side(show, make):
    async with show([make("a"), make("b", "rslad", done=2)]) as pilot:
        assert [row[:4] for row in shown(pilot).rows] == [
            ["a", "95.00", "60.00", "77.50"],
            ["b", "72.50", "40.00", "56.25"],
        ]
        assert shown(pilot, "#settings").rows == [["method.name", "mtard", "rslad"]]
        assert [one.label for one in plotted(pilot)] == ["a", "b"]
        assert plotted(pilot)[1].y == pytest.approx((45.625, 56.25), abs=0.01)
        # The tables get their height after they have got their rows.
        await until(pilot, lambda: "method.name" in screen_text(pilot))
        text = screen_text(pilot)
        for sign in ("● a", "■ b"):
            assert sign in text


async def test_only_the_figures_change_while_time_passes(show, make, monkeypatch):
    """Drawing the curves of a run that is executed each second would cost much."""
    drawn = []
    monkeypatch.setattr(CompareScreen, "_plot", lambda screen: drawn.append(1))
    async with show([make("a"), make("b")]) as pilot:
        screen, known = pilot.app.screen, len(drawn)
        later = [
            replace(run, summary=replace(run.summary, seconds=3600.0 + number))
            for number, run in enumerate(screen._runs)
        ]
        screen.take(later)
        assert len(drawn) == known
        column = shown(pilot).header.index("time")
        assert [row[column] for row in shown(pilot).rows[:2]] == ["1h 00m"] * 2
        screen.take([replace(later[0], curves={}), later[1]])
        assert len(drawn) == known + 1


async def test_runs_keep_their_looks(show, make):
    runs = [make(name) for name in "abc"]
    async with show(runs) as pilot:
        assert [one.style for one in plotted(pilot)] == list(STYLES[:3])
        await pilot.press("delete")
        assert [one.label for one in plotted(pilot)] == ["b", "c"]
        assert [one.style for one in plotted(pilot)] == list(STYLES[1:3])
        await pilot.press("escape")
        pilot.app.compare([runs[2], make("d"), runs[0]])
        await until(pilot, lambda: getattr(pilot.app.screen, "_runs", None))
        assert [one.style for one in plotted(pilot)] == [STYLES[i] for i in (2, 3, 0)]


async def test_the_baseline_brings_differences(show, make):
    async with show([make("a"), make("b", "rslad", done=2)]) as pilot:
        await pilot.press("down", "b")
        assert "Compare 2 runs to b" in screen_text(pilot)
        assert shown(pilot).header[4:7] == ["Δ clean", "Δ robust", "Δ W-Robust"]
        assert [row[6] for row in shown(pilot).rows] == ["+21.25", "+0.00"]
        assert pilot.app.screen.query_one("#figures").cursor_row == 1
        await pilot.press("b")
        assert shown(pilot).header[4] == "of"
        await pilot.press("b", "delete")
        assert shown(pilot).header[4] == "of"
        assert [row[0] for row in shown(pilot).rows] == ["a"]


async def test_the_metric_is_chosen_and_remembered(show, make):
    run = make("a")
    async with show([run]) as pilot:
        select = pilot.app.screen.query_one(Select)
        assert select.value == "w_robust_accuracy"
        await pilot.press("m", "m", "m")
        await pilot.pause()
        assert select.value == "loss"
        assert plotted(pilot)[0].y == (1.75, 1.5, 1.25, 1.0)
        await pilot.press("M")
        await pilot.pause()
        assert select.value == "robust_accuracy"
    async with show([run]) as pilot:
        assert pilot.app.screen.query_one(Select).value == "robust_accuracy"
        assert plotted(pilot)[0].y == pytest.approx((30, 40, 50, 60))


async def test_a_running_run_grows(show, make):
    run = make("a", state="running", done=2)
    async with show([run, make("b")]) as pilot:
        await pilot.press("down")
        metrics = {"w_robust_accuracy": 0.9, "new [b]metric": 1.0}
        EventWriter(run.events_path).write(
            "epoch", phase="student", epoch=3, step=30, metrics=metrics
        )
        await until(pilot, lambda: len(plotted(pilot)[0].x) == 3)
        assert shown(pilot).rows[0][3] == "90.00"
        assert pilot.app.screen.query_one("#figures").cursor_row == 1
        await pilot.press("M")
        await until(pilot, lambda: "new [b]metric" in screen_text(pilot))


async def test_without_runs_it_says_what_to_do(show, make, tmp_path):
    async with show([make("a"), Run(tmp_path / "gone")]) as pilot:
        assert [row[0] for row in shown(pilot).rows] == ["a", "gone"]
        await pilot.press("delete", "delete", "delete", "b", "m", "t")
        title = pilot.app.screen.query_one("#title", Static).content.plain
        assert title.startswith("No runs to compare: press a")
        await pilot.press("a")
        assert len(pilot.app.screen_stack) == 1


@pytest.mark.parametrize("size", [(120, 36), (80, 24), (60, 16), (40, 10)])
async def test_it_fits_every_size(show, make, size):
    runs = [make("実験-蒸留-[b]" + "長い名前" * 5), make("b", "rslad")]
    async with show(runs, size) as pilot:
        screen = pilot.app.screen
        figures, settings = (screen.query_one(f"#{n}") for n in ("figures", "settings"))
        assert screen.query_one(MetricPlot).display == (size[0] >= 60 and size[1] >= 16)
        assert (figures.display, settings.display) == (True, size[0] >= 110)
        await pilot.press("t")
        assert pilot.app.focused is settings
        assert settings.display
        assert "method.name" in screen_text(pilot)
        await pilot.press("t")
        assert pilot.app.focused is figures
        assert "● 実験" in screen_text(pilot)


@pytest.mark.parametrize(
    ("keys", "name", "expected"),
    [
        ((), "out.md", "| run | clean |"),
        (("t",), "out.csv", "setting,a,b"),
        ((), "out.svg", "w_robust_accuracy in %"),
        ((), "out.svg", ">rslad<"),
        (("f",), "out.svg", ">rslad<"),
        (("X",), "out.svg", ">step<"),
        ((), "out.csv", "state,method,seed"),
        (("m", "m", "m"), "out.svg", ">loss<"),
    ],
)
async def test_what_is_shown_is_written(show, make, tmp_path, keys, name, expected):
    runs = [make("a"), make("b", "rslad")]
    async with show(runs, (80, 24)) as pilot:
        await pilot.press(*keys)
        await pilot.pause()
        await pilot.press("x")
        assert isinstance(pilot.app.screen, ExportScreen)
        pilot.app.screen.query_one(Input).value = str(tmp_path / name)
        await pilot.press("enter")
        await until(pilot, lambda: len(pilot.app.screen_stack) == 2)

    assert expected in (tmp_path / name).read_text(encoding="utf-8")


async def test_one_run_alone_says_how_to_add_others(show, make):
    async with show([make("a")]) as pilot:
        await until(pilot, lambda: "Only one run: press a" in screen_text(pilot))


async def test_seeds_fold_to_one_curve_with_a_band(show, make, tmp_path):
    runs = [make("a"), make("b", "rslad"), make("c", "mtard", 1, done=2)]
    async with show(runs, (120, 36)) as pilot:
        assert [one.label for one in plotted(pilot)] == ["a", "b", "c"]
        await pilot.press("f")
        await pilot.pause()
        first, second = plotted(pilot)
        assert (first.label, second.label) == ("mtard, mean of 2", "b")
        assert first.x == (1, 2) and len(first.low) == len(first.high) == 2
        assert first.style == STYLES[0]
        await pilot.press("x")
        pilot.app.screen.query_one(Input).value = str(tmp_path / "out.svg")
        await pilot.press("enter")
        await until(pilot, lambda: len(pilot.app.screen_stack) == 2)
        assert ">mtard, mean of 2<" in (tmp_path / "out.svg").read_text()
        await pilot.press("f")
        await pilot.pause()
        assert len(plotted(pilot)) == 3


async def test_the_plot_has_a_crosshair_and_other_axes(show, make):
    async with show([make("a"), make("b", "rslad", done=2)], (80, 24)) as pilot:
        plot = pilot.app.screen.query_one(MetricPlot)
        await until(pilot, lambda: plot._content.series)
        await pilot.press("comma", "comma", "comma")
        assert "epoch 2  " in screen_text(pilot) or plot.view.cross == 2.0
        legend = str(plot.query_one("#legend", Static).content)
        assert legend.startswith("epoch 2   ● a 56.25   ■ b 56.25")
        await pilot.press("left_square_bracket", "right_square_bracket")
        assert plot.view.window is not None
        await pilot.press("X")
        await until(pilot, lambda: plot._content.x_axis.name == "step")
        assert plot.view.window is None
        assert [one.x for one in plotted(pilot)] == [(10, 20, 30, 40), (10, 20)]
        await pilot.press("Y", "f")
        await until(pilot, lambda: plot._content.is_log)
        await pilot.press("m")
        await until(pilot, lambda: not plot.is_log)
