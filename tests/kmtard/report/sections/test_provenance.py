from __future__ import annotations

import pytest

from kmtard.recipe import load, settings_key
from kmtard.report.sections.provenance import provenance
from kmtard.report.source import read
from kmtard.runs import EventWriter
from kmtard.runs.notes import Notes, write_notes
from kmtard.runs.tables import Table
from tests.kmtard.report.conftest import Reported
from tests.run_folders import RECIPE

pytestmark = pytest.mark.once("jax")


def test_a_run_is_shown_with_its_origin(reported: Reported) -> None:
    run = reported(seed=3, revision="0123456789ab+", argv=["kmtard", "fit", "a b.toml"])
    run.recipe_path.write_text(RECIPE.read_text())
    EventWriter(run.events_path).write(
        "run_finished", metrics={}, devices=["NVIDIA H100"], peak_memory={}
    )
    made, versions, commands = provenance(read([run.path])).blocks
    assert isinstance(made, Table) and isinstance(versions, Table)
    assert isinstance(commands, Table)
    row = dict(zip(made.header, made.rows[0], strict=True))
    assert row == {
        **{"run": run.name, "state": "finished", "seed": "-", "backend": "jax"},
        **{"device": "NVIDIA H100", "revision": "0123456789ab+", "images": "40"},
        "recipe": settings_key(load(RECIPE)),
        "best epoch by": "held-out images",
    }
    assert versions.rows == [["all", "3.15.1"]] and versions.header[1] == "keras"
    assert commands.rows == [[run.name, "kmtard fit 'a b.toml'"]]


def test_several_devices_are_counted(reported: Reported) -> None:
    devices = [f"NVIDIA H100 {number}" for number in range(2)]
    for details, expected in (
        ({"devices": 2}, f"2 devices: {', '.join(devices)}"),
        ({"devices": 2, "processes": 2}, "2 devices in 2 processes: NVIDIA H100 0, "),
        ({"devices": 1, "processes": 1}, ", ".join(devices)),
        ({"devices": "two"}, ", ".join(devices)),
    ):
        run = reported(**details)
        EventWriter(run.events_path).write(
            "run_finished", metrics={}, devices=devices, peak_memory={}
        )
        made = provenance(read([run.path])).blocks[0]
        assert isinstance(made, Table)
        assert made.rows[0][made.header.index("device")].startswith(expected)


def test_unknown_values_are_dashes(reported: Reported) -> None:
    first = reported(argv="not a list", versions={"keras": "3.14"})
    second = reported(seed=1, versions={"keras": "3.15.1", "jax": "0.10"})
    text = "[evaluation]\nselection = 'test'\n"
    second.recipe_path.write_text(second.recipe_path.read_text() + text)
    made, versions, commands = provenance(read([first.path, second.path])).blocks
    assert isinstance(made, Table) and isinstance(versions, Table)
    assert isinstance(commands, Table)
    assert "device" not in made.header and "revision" not in made.header
    # The recipe of these runs is not complete.
    assert [row[made.header.index("recipe")] for row in made.rows] == ["-", "-"]
    chosen = [row[made.header.index("best epoch by")] for row in made.rows]
    assert chosen == ["held-out images", "test images"]
    assert [list(row)[1:] for row in versions.rows] == [
        ["3.14", "-"],
        ["3.15.1", "0.10"],
    ]
    assert commands.rows[0][1] == "-"


def test_tags_are_shown_where_runs_have_some(reported: Reported) -> None:
    tagged, plain = reported(), reported(seed=1)
    write_notes(tagged, Notes("", ("final", "odd")))
    made = provenance(read([tagged.path, plain.path])).blocks[0]
    assert isinstance(made, Table)
    assert [row[made.header.index("tags")] for row in made.rows] == ["final odd", "-"]
