from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from kmtard.report.drawings import Curves
from kmtard.report.section import Section
from kmtard.report.sections import curves
from kmtard.report.source import Source, read
from kmtard.runs import EventWriter
from kmtard.runs.tables import Table
from tests.kmtard.report.conftest import Reported
from tests.run_folders import epoch_metrics

pytestmark = pytest.mark.once("jax")


def panels(section: Section) -> dict[str, Curves]:
    [drawing] = section.blocks
    assert isinstance(drawing, Curves)
    return {panel.y_label: panel for panel in drawing.panels}


@pytest.mark.parametrize(
    "build, labels",
    [
        (curves.losses, ["total loss", "clean loss", "robust loss"]),
        (curves.relative_losses, ["relative clean loss", "relative robust loss"]),
        (
            curves.entropies,
            ["entropy of the clean teacher", "entropy of the robust teacher"],
        ),
        (
            curves.balance,
            [
                *(
                    "temperature of the clean teacher",
                    "temperature of the robust teacher",
                ),
                *("weight of the clean loss", "weight of the robust loss"),
            ],
        ),
        (
            curves.epochs,
            ["clean accuracy, %", "robust accuracy, %", "W-Robust accuracy, %"],
        ),
    ],
)
def test_each_figure_of_the_paper_has_its_panels(
    reported: Reported, build: Callable[[Source], Section], labels: list[str]
) -> None:
    assert list(panels(build(read([reported().path])))) == labels


def test_a_curve_is_the_mean_over_the_seeds(reported: Reported) -> None:
    runs = [reported(seed=seed, evaluated=False) for seed in (0, 1)]
    more = {**epoch_metrics(3, 3), "loss": 2.0, "robust_accuracy": 0.8}
    event = {"phase": "student", "epoch": 4, "step": 40, "seconds": 1.0}
    EventWriter(runs[0].events_path).write("epoch", **event, metrics=more)
    source = read([run.path for run in runs])
    [curve] = panels(curves.losses(source))["total loss"].curves
    assert curve.x == [1, 2, 3, 4]
    assert list(curve.y) == pytest.approx([2 - 1 / 3, 2 - 2 / 3, 1, 2])
    # Only one seed has the last epoch.
    assert list(curve.spread) == [0, 0, 0, None]
    [curve] = panels(curves.epochs(source))["robust accuracy, %"].curves
    assert curve.y[-1] == 80


def test_hostile_numbers_are_gaps(reported: Reported) -> None:
    runs = [reported(seed=seed) for seed in (0, 1)]
    event = {"phase": "student", "epoch": 4, "step": 40, "seconds": 1.0}
    metrics = {"loss": 1e308, "nat_entropy": -1e308}
    for run in runs:
        EventWriter(run.events_path).write("epoch", **event, metrics=metrics)
    source = read([run.path for run in runs])
    curve = panels(curves.losses(source))["total loss"].curves[0]
    assert curve.y[-1] is None and None not in curve.y[:-1]
    assert source.benches[0].settings[0].last("nat_entropy") == []


def test_a_run_without_epochs_is_reported(reported: Reported) -> None:
    run = reported()
    run.events_path.write_text("")
    section = curves.losses(read([run.path]))
    assert not section.blocks and section.missing


def test_knowledge_scale_is_that_of_table_1(reported: Reported) -> None:
    runs = [reported("b_mtard"), reported("mtard")]
    [table] = curves.knowledge_scale(read([run.path for run in runs])).blocks
    assert isinstance(table, Table)
    clean, robust = (dict(zip(table.header, row, strict=True)) for row in table.rows)
    ours = math.log(4) - 1.2
    assert clean["unbalanced"] == clean["balanced"] == f"{ours:.4f}"
    assert clean["unbalanced, paper"] == "2.2518"
    assert clean["balanced, Δ"] == f"{ours - 1.248:+.4f}"
    assert robust["network"] == "wide_resnet_34_10"
    section = curves.knowledge_scale(read([runs[0].path]))
    assert "--method mtard" in section.missing[0]
    assert not curves.knowledge_scale(read([reported("trades").path])).blocks
