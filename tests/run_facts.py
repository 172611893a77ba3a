"""The values that equal runs share, even if they were interrupted."""

from __future__ import annotations

import json
import zipfile
from typing import Any

import h5py
import numpy as np

from kmtard.runs import Run

CLOCKS = ("time", "seconds", "steps_per_second", "compile_seconds")
"""Fields of an event that differ between equal runs."""


def facts(run: Run, *, repeats: bool = False) -> dict[str, Any]:
    """Return everything that equal runs have in common, arrays to the last bit.

    Args:
        run: finished.
        repeats: whether an epoch may be told twice, with equal figures: a process that
            was killed after the event and before its resume point does it again.
    """
    found: dict[str, Any] = {}
    for folder in run.checkpoints.iterdir():
        points = list(folder.glob("0*.npz"))
        if repeats and not points:
            continue  # killed before the first point of a training that others finished
        with np.load(max(points)) as arrays:
            for name, array in arrays.items():
                found[f"{folder.name}/{name}"] = (array.dtype, array.tobytes())
    for path in run.best.glob("*.weights.h5"):
        found |= weights(path, path.name)
    with zipfile.ZipFile(run.best / "student.keras") as archive:
        with archive.open("model.weights.h5") as file:
            found |= weights(file, "student")
    for event in epochs(run):
        place = f"{event['phase']} epoch {event['epoch']}"
        figures = {name: event[name] for name in event if name not in CLOCKS}
        if repeats:
            assert found.get(place, figures) == figures, f"{place} had other figures"
        else:
            assert place not in found, "an epoch was reported twice"
        found[place] = figures
    report = json.loads(run.evaluation_path.read_text())
    # Of the seconds, too.
    del report["crc32"]
    for network in report["networks"]:
        del network["seconds"], network["name"]
        for column in (network["clean"], *network["attacks"].values()):
            del column["cost"]["seconds"]
    return {**found, "evaluation": report}


def weights(file: Any, name: str) -> dict[str, Any]:
    """Return the arrays of an HDF5 file by their paths."""
    found = {}

    def visit(path: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[f"{name}/{path}"] = (item.dtype, item[()].tobytes())

    with h5py.File(file) as store:
        store.visititems(visit)
    return found


def epochs(run: Run) -> list[dict[str, Any]]:
    """Return the events of a run's epochs."""
    return [event for event in run.events().poll() if event["event"] == "epoch"]
