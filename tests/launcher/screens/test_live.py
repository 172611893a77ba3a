from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.app import App
from textual.pilot import Pilot
from textual.widgets import SelectionList, Static

from kmtard.runs import EventWriter, Run
from kmtard.runs.phase import Series
from kmtard.runs.queue.queue import Queue
from launcher.runs.panels import PANELS
from launcher.screens.live import LiveScreen
from launcher.settings import Settings
from launcher.widgets import metric_plot
from launcher.widgets.log_pane import LogPane
from launcher.widgets.metric_plot import MetricPlot
from launcher.widgets.plot_view import PlotView
from launcher.widgets.run_plots import RunPlots

MakeRun = Callable[..., Run]


class Watching(App[None]):
    """What the screen needs of the launcher, without its other screens."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (60, "-medium"), (110, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (16, "-tall")]

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.runs_dir = path.parent
        self.settings = Settings(path.parent.parent / "launch.json")
        self.queue = Queue(path.parent)
        self.live = LiveScreen(path)

    def on_mount(self) -> None:
        self.push_screen(self.live)

    def report(self, error: object) -> None:
        self.notify(str(error), markup=False)

    def text(self, name: str) -> str:
        return str(self.live.query_one(f"#{name}", Static).content)

    @property
    def plots(self) -> dict[str, MetricPlot]:
        """The plots that are seen, by their names."""
        shown = self.live.query(MetricPlot)
        return {str(p.id)[5:]: p for p in shown if p.region and p.display}

    def legend(self, name: str) -> str:
        return str(self.plots[name].query_one("#legend", Static).content)

    @property
    def screen_text(self) -> str:
        strips = self.live._compositor.render_strips()
        return "\n".join(strip.text for strip in strips)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metric_plot, "PAUSE", 0.0)


async def until(pilot: Pilot[None], condition: Callable[[], bool]) -> None:
    for _ in range(250):
        if condition():
            return
        await pilot.pause(0.02)
    raise AssertionError("It did not come about in 5 s.")


async def ready(app: Watching, pilot: Pilot[None]) -> None:
    await until(pilot, lambda: bool(app.live.summary.state))
    await pilot.pause()


def epoch_event(number: int, **metrics: Any) -> dict[str, Any]:
    return {"phase": "student", "epoch": number, "seconds": 1.0, "metrics": metrics}


@pytest.mark.asyncio
async def test_a_run_grows_before_ones_eyes(make_run: MakeRun) -> None:
    run = make_run(state="running", done=2)
    app = Watching(run.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(app, pilot)
        assert "▶ running" in app.text("header")
        assert "student 2/4 · training ends in 3s" in app.text("header")
        assert "digits · b-mtard · small_cnn" in app.text("header")
        numbers = app.text("numbers").splitlines()
        assert numbers[0].split("  ")[-2:] == ["clean teacher", "robust teacher"]
        assert "best, 2" in numbers[0]
        assert numbers[1].split() == ["●", "clean", "72.50", "72.50", "72.50", "72.50"]
        assert list(app.plots) == ["accuracy"]
        legend = app.legend("accuracy")
        assert "▲ W-Robust 56.25" in legend and "│ best epoch 2" in legend
        assert "┄ clean teacher 72.50" in legend and "┄ robust teacher 40.00" in legend
        better = {
            "clean_accuracy": 0.9,
            "robust_accuracy": 0.5,
            "w_robust_accuracy": 0.7,
        }
        EventWriter(run.events_path).write("epoch", **epoch_event(3, **better))
        await until(pilot, lambda: "W-Robust 70.00" in app.legend("accuracy"))
        assert "student 3/4" in app.text("header")


@pytest.mark.asyncio
async def test_every_plot_is_a_key_or_a_click_away(make_run: MakeRun) -> None:
    app = Watching(make_run().path)
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(app, pilot)
        seen = []
        for _ in range(9):
            seen += app.plots
            await pilot.press("t")
            await pilot.pause()
        names = ["accuracy", "losses", "relative", "weights", "temperatures"]
        assert seen[:8] == [*names, "entropies", "rate", "system"]
        assert seen[8] == "accuracy"
        await pilot.press("T", "T", "T")
        await pilot.pause()
        assert list(app.plots) == ["rate"]
        place = app.text("names").index("weights")
        await pilot.click("#names", offset=(1 + place, 0))
        await pilot.pause()
        assert list(app.plots) == ["weights"]
        assert app.settings.get("live.plot", "") == "weights"


@pytest.mark.asyncio
async def test_several_plots_stand_beside_each_other(make_run: MakeRun) -> None:
    app = Watching(make_run().path)
    async with app.run_test(size=(120, 50)) as pilot:
        await ready(app, pilot)
        await until(pilot, lambda: len(app.plots) == 4)
        regions = [plot.region for plot in app.plots.values()]
        assert len({region.x for region in regions}) == 2
        assert len({region.y for region in regions}) == 2
        assert app.plots["losses"].border_title == "losses"


@pytest.mark.asyncio
async def test_curves_and_plots_are_switched_off_and_stay_so(make_run: MakeRun) -> None:
    run = make_run()
    app = Watching(run.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(app, pilot)
        await pilot.press("v")
        await pilot.pause()
        choice = app.screen.query_one(SelectionList)
        choice.deselect("robust_accuracy")
        choice.deselect("plot:losses")
        await pilot.pause()
        await pilot.press("escape", "t")
        await pilot.pause()
        assert list(app.plots) == ["relative"]
        await pilot.press("T")
        await until(pilot, lambda: "robust 60" not in app.legend("accuracy"))
        assert "W-Robust" in app.legend("accuracy")
        assert "robust teacher" not in app.legend("accuracy")
    again = Watching(run.path)
    async with again.run_test(size=(80, 24)) as pilot:
        await ready(again, pilot)
        assert again.live.query_one(RunPlots).hidden == {
            "robust_accuracy",
            "plot:losses",
        }


@pytest.mark.asyncio
async def test_a_run_that_compiles_shows_no_share(make_run: MakeRun) -> None:
    run = make_run(state="running", done=0, phases=["nat_teacher"])
    app = Watching(run.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(app, pilot)
        assert "compiling" in app.text("header") and "%" not in app.text("header")
        EventWriter(run.events_path).write(
            "step", phase="nat_teacher", epoch=1, step=5, steps=10, metrics={}
        )
        await until(pilot, lambda: "%" in app.text("header"))
        assert "compiling" not in app.text("header")


@pytest.mark.asyncio
async def test_held_out_and_test_results_are_told_apart(make_run: MakeRun) -> None:
    run = make_run(state="running")
    metrics = {
        "role": "student",
        "clean_accuracy": 0.9,
        "robust_accuracy": {"pgd_trades": 0.5},
        "w_robust_accuracy": {"pgd_trades": 0.7},
    }
    app = Watching(run.path)
    async with app.run_test(size=(120, 36)) as pilot:
        await ready(app, pilot)
        assert "the final evaluation" not in app.text("numbers")
        EventWriter(run.events_path).write(
            "evaluation", phase="evaluation", metrics=metrics
        )
        await until(pilot, lambda: "test, pgd_trades" in app.text("numbers"))
        assert "now and best: on the images that choose" in app.screen_text


@pytest.mark.asyncio
async def test_smoothing_shows_raw_values_faint_below(make_run: MakeRun) -> None:
    app = Watching(make_run().path)
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(app, pilot)
        await pilot.press("m")
        await until(pilot, lambda: any(s.faint for s in app.plots["accuracy"]._series))
        raw, smooth = app.plots["accuracy"]._series[:2]
        assert raw.faint and not smooth.faint
        known = Series(list(raw.x), list(raw.y))
        assert list(smooth.y) == pytest.approx(known.smoothed(0.8))
        await pilot.press("plus", "plus")
        assert app.settings.get("live.strength", 0.0) == 0.95
        await pilot.press("minus", "m")
        assert not app.settings.get("live.smooth", True)
        assert not any(s.faint for s in app.plots["accuracy"]._series)


@pytest.mark.asyncio
async def test_plots_share_their_crosshair_and_window(make_run: MakeRun) -> None:
    app = Watching(make_run().path)
    async with app.run_test(size=(120, 50)) as pilot:
        await ready(app, pilot)
        await until(pilot, lambda: len(app.plots) == 4)
        await pilot.press("comma", "comma")
        await pilot.pause()
        assert app.legend("accuracy").startswith("epoch 3  ● clean 83.75")
        assert app.legend("losses").startswith("epoch 3  ● 1.2500")
        await pilot.press("right_square_bracket", "less_than_sign")
        assert {p.view.window for p in app.plots.values()} == {(1.625, 3.125)}
        # A plot that was hidden has the same view.
        await pilot.press("t", "t", "t", "t", "t")
        await until(pilot, lambda: "entropies" in app.plots)
        assert app.plots["entropies"].view.cross == 3.0
        await pilot.press("0")
        assert {p.view for p in app.live.query(MetricPlot)} == {PlotView()}


@pytest.mark.asyncio
async def test_the_axes_are_chosen_by_keys(make_run: MakeRun) -> None:
    run = make_run()
    app = Watching(run.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(app, pilot)
        await pilot.press("t", "Y", "X", "full_stop")
        await until(pilot, lambda: app.legend("losses").startswith("step 40   ● loss"))
        assert app.plots["losses"].is_log
        await pilot.press("X", "full_stop")
        await until(pilot, lambda: app.legend("losses").startswith("seconds: "))
        xs = list(app.plots["losses"]._series[0].x)
        assert len(xs) == 4 and xs == sorted(xs)
        await pilot.press("t")
        await until(pilot, lambda: "relative" in app.plots)
        assert not app.plots["relative"].is_log
    again = Watching(run.path)
    async with again.run_test(size=(80, 24)) as pilot:
        await ready(again, pilot)
        plots = again.live.query_one(RunPlots)
        assert (plots.axis, plots.logs) == ("time", {"losses"})


@pytest.mark.asyncio
async def test_a_large_terminal_gives_its_rows_to_the_plots(make_run: MakeRun) -> None:
    app = Watching(make_run().path)
    async with app.run_test(size=(200, 60)) as pilot:
        await ready(app, pilot)
        await until(pilot, lambda: len(app.plots) == 6)
        log, plots = app.live.query_one(LogPane), app.live.query_one(RunPlots)
        assert log.region.height <= 12 and plots.region.height > 36
        await pilot.press("o")
        await until(pilot, lambda: log.region.height > 45)


@pytest.mark.asyncio
async def test_the_teachers_own_curves(make_run: MakeRun) -> None:
    app = Watching(make_run().path)
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(app, pilot)
        for role in ("nat_teacher", "adv_teacher", "student"):
            await pilot.press("p")
            assert app.live.shown_role == role
            await until(
                pilot,
                lambda role=role: (
                    ("clean teacher" in app.legend("accuracy")) == (role == "student")
                ),
            )


@pytest.mark.asyncio
async def test_panes_are_switched_and_maximised(make_run: MakeRun) -> None:
    app = Watching(make_run().path)
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(app, pilot)
        before = app.plots["accuracy"].region.height
        for key, name in (("l", "log"), ("b", "numbers")):
            await pilot.press(key)
            await pilot.pause()
            assert not app.settings.get(f"live.{name}", True)
        assert app.plots["accuracy"].region.height > before + 4
        await pilot.press("l", "b", "o")
        await pilot.pause()
        assert not app.plots and app.live.query_one(LogPane).region.height > 12
        await pilot.press("o", "z")
        await pilot.pause()
        assert app.plots["accuracy"].region.height > 18
        await pilot.press("escape", "Z")
        await pilot.pause()
        assert app.live.query_one(LogPane).region.height > 18
        await pilot.press("escape", "escape")
        await pilot.pause()
        assert app.screen is not app.live


@pytest.mark.asyncio
@pytest.mark.parametrize("size", [(120, 36), (80, 24), (60, 16), (59, 16), (40, 10)])
async def test_sizes(make_run: MakeRun, size: tuple[int, int]) -> None:
    app = Watching(make_run().path)
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(app, pilot)
        await pilot.resize_terminal(*size)
        await pilot.pause()
        assert bool(app.plots) == (size[0] >= 60 and size[1] >= 16)
        assert (
            app.live.max_scroll_y == 0 and app.live.query_one(LogPane).region.height > 2
        )
        seen = app.screen_text
        assert "digits-b-mtard" in seen and "95.00" in seen


@pytest.mark.asyncio
async def test_a_crashed_run_shows_its_last_lines(make_run: MakeRun) -> None:
    run = make_run(state="crashed")
    run.log_path.write_text("epoch 1\nMemoryError: [b]no[/b] room\n")
    app = Watching(run.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(app, pilot)
        assert "✗ crashed" in app.text("header")
        assert "MemoryError: [b]no[/b] room" in app.text("banner")
        assert "ends in" not in app.text("header")


@pytest.mark.asyncio
async def test_a_failed_run_shows_why(make_run: MakeRun) -> None:
    app = Watching(make_run(state="failed").path)
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(app, pilot)
        assert "Failed: ValueError: [b]no[/b] luck" in app.text("banner")


@pytest.mark.asyncio
async def test_a_run_elsewhere_is_watched_only(make_run: MakeRun) -> None:
    app = Watching(make_run(state="remote", host="elsewhere").path)
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(app, pilot)
        assert "on elsewhere: watch only" in app.text("header")


@pytest.mark.asyncio
async def test_names_of_others_are_text(make_run: MakeRun) -> None:
    recipe = '[data]\nname = "[red]x[/red]"\n[method]\nname = "a\\u001b[31mb"\n'
    run = make_run("a\u4e2d\u6587", recipe=recipe)
    odd = run.path.rename(run.path.with_name("[b]odd"))
    app = Watching(odd)
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(app, pilot)
        assert "[b]odd" in app.screen_text and "[red]x[/red]" in app.screen_text
        assert "\x1b" not in app.text("header")


@pytest.mark.asyncio
async def test_metrics_that_nobody_knows_have_a_plot(make_run: MakeRun) -> None:
    run = make_run(state="running", phases=())
    EventWriter(run.events_path).write("epoch", **epoch_event(1, **{"[b]odd[/b]": 1.0}))
    app = Watching(run.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(app, pilot)
        assert "No epochs" in app.legend("accuracy")
        await pilot.press("t")
        await until(pilot, lambda: list(app.plots) == ["other"])
        await until(pilot, lambda: "[b]odd[/b] 1.000" in app.legend("other"))
        await pilot.press("v")
        await pilot.pause()
        options = app.screen.query_one(SelectionList).options
        assert any("[b]odd[/b]" in str(option.prompt) for option in options)


@pytest.mark.asyncio
async def test_the_use_of_the_machine_has_plots_and_warnings(make_run: MakeRun) -> None:
    run = make_run(state="running", done=2)
    app = Watching(run.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(app, pilot)
        await pilot.press("T")
        await until(pilot, lambda: list(app.plots) == ["system"])
        assert app.legend("system").startswith("Not measured: this run")
        metrics = {
            "cpu": 55.0,
            "memory": 3 * 2**30,
            "machine_memory": 40.0,
            "gpu": 12.0,
            "gpu_memory": 2**30,
            "gpu_memory_share": 95.0,
            "gpu_power": 120.0,
            "gpu_temperature": 61.0,
        }
        for _ in range(2):
            EventWriter(run.events_path).write("system", seconds=40.0, metrics=metrics)
        await until(pilot, lambda: "● CPU 55" in app.legend("system"))
        assert "▲ GPU 12" in app.legend("system")
        assert "◆ GPU memory 95" in app.legend("system")
        assert "The GPU idles: 12 % used" in app.text("banner")
        assert "The memory of the GPU is 95 % full: 1.0 GiB." in app.text("banner")
        # Its crosshair is not that of the plots of a phase.
        await pilot.press("full_stop", "t")
        await until(pilot, lambda: list(app.plots) == ["memory"])
        assert app.legend("memory").startswith("seconds: ")
        assert "● this run 3.00   ■ GPU 1.00" in app.legend("memory")
        await pilot.press("t")
        await until(pilot, lambda: list(app.plots) == ["power"])
        assert "● W 120   ■ °C 61" in app.legend("power")
        assert "power" in app.text("names") and app.text("names").startswith("…")
        await pilot.press("t")
        await until(pilot, lambda: list(app.plots) == ["accuracy"])
        assert app.plots["accuracy"].view.cross is None
        metrics |= {"gpu": 90.0, "gpu_memory_share": 50.0}
        EventWriter(run.events_path).write("system", seconds=40.0, metrics=metrics)
        await until(pilot, lambda: not app.live.query_one("#banner").display)


def _no_events(run: Run) -> None:
    run.events_path.unlink()


def _no_folder(run: Run) -> None:
    run.path.rename(run.path.with_name("moved"))


def _noise(run: Run) -> None:
    for path in (run.events_path, run.info_path, run.recipe_path, run.log_path):
        path.write_bytes(os.urandom(4000) + b"\n")


def _pipes(run: Run) -> None:
    for path in (run.events_path, run.info_path, run.recipe_path, run.log_path):
        path.unlink(missing_ok=True)
        os.mkfifo(path)


def _wrong_owner(run: Run) -> None:
    run.events_path.write_text("")
    run.info_path.write_text(json.dumps({**run.info(), "pid": 10**30}))


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (_no_events, "There are no events yet."),
        (_no_folder, "No such file or directory."),
        (_noise, "are not events."),
        (_pipes, "Expected regular files"),
        (_wrong_owner, ""),
    ],
)
async def test_damage_is_told(
    make_run: MakeRun, damage: Callable[[Run], None], told: str
) -> None:
    run = make_run(state="running")
    damage(run)
    app = Watching(run.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(app, pilot)
        await until(pilot, lambda: told in app.text("banner"))
        await pilot.press("t", "p", "m", "v", "escape", "f", "slash", "x", "enter", "n")
        await pilot.pause()


@pytest.mark.asyncio
async def test_nothing_is_drawn_while_nothing_changes(make_run: MakeRun) -> None:
    app = Watching(make_run(state="running", done=2).path)
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(app, pilot)
        await pilot.pause()
        polls: list[bool] = []
        real = app.live.history.poll
        app.live.history.poll = lambda: polls.append(real()) or polls[-1]  # type: ignore
        drawings = app.plots["accuracy"].drawings
        await until(pilot, lambda: len(polls) >= 3)
        assert not any(polls) and app.plots["accuracy"].drawings == drawings


def test_the_papers_figures_have_panels() -> None:
    shown = {metric for panel in PANELS for metric in panel.metrics}
    for metric in ("loss", "weight", "temperature", "entropy"):
        assert {f"nat_{metric}", f"adv_{metric}"} <= shown
    assert {"relative_nat_loss", "relative_adv_loss"} <= shown


@pytest.mark.asyncio
async def test_a_renamed_run_is_followed_and_a_deleted_one_left(
    make_run: MakeRun,
) -> None:
    run = make_run()
    app = Watching(run.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        new = run.path.rename(run.path.with_name("other"))
        app.live.post_message(LiveScreen.Moved(run.path, new))
        await until(pilot, lambda: app.screen is not app.live)
        followed = app.screen
        assert isinstance(followed, LiveScreen)
        assert followed.run.path == new
        followed.post_message(LiveScreen.Moved(new, None))
        await until(pilot, lambda: not isinstance(app.screen, LiveScreen))
