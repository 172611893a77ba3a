from __future__ import annotations

import json

import pytest

from kmtard.report.drawings import Curves, Plane
from kmtard.report.sections import plane
from kmtard.report.source import read
from tests.kmtard.report.conftest import EPSILON, Reported, record

pytestmark = pytest.mark.once("jax")


def test_the_plane_holds_our_points_and_the_papers(reported: Reported) -> None:
    runs = [reported(seed=0, clean=34), reported(seed=1), reported("baseline")]
    [drawing] = plane.plane(read([run.path for run in runs])).blocks
    assert isinstance(drawing, Plane)
    baseline, ours, paper = drawing.points
    assert (ours.label, ours.x, ours.y) == ("b-mtard", 87.5, 50)
    assert ours.x_spread == pytest.approx(3.5355, abs=1e-4) and ours.y_spread == 0
    assert (paper.label, paper.x, paper.y) == ("b-mtard, paper", 88.2, 54.4)
    assert paper.is_paper and paper.look == ours.look != baseline.look


def test_radii_are_drawn_if_several_were_measured(reported: Reported) -> None:
    run = reported()
    section = plane.radii(read([run.path]))
    assert (
        not section.blocks
        and "--attacks pgd_trades --epsilon 16/255" in section.missing[0]
    )
    other = record({"pgd_trades": 4}, epsilon=2 * EPSILON)
    (run.path / "evaluation" / "wide.json").write_text(json.dumps(other))
    few = {**record({"pgd_trades": 1}, epsilon=3 * EPSILON), "images": 10}
    (run.path / "evaluation" / "few.json").write_text(json.dumps(few))
    [drawing] = plane.radii(read([run.path])).blocks
    assert isinstance(drawing, Curves)
    [[curve]] = [panel.curves for panel in drawing.panels]
    assert curve.x == [0.0, EPSILON, 2 * EPSILON]
    assert list(curve.y) == [90.0, 50.0, 10.0]
