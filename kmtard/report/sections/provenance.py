"""The origin of the numbers: versions, device, seeds, settings and commands."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from kmtard.recipe import RecipeError, load, settings_key
from kmtard.report.section import Section
from kmtard.report.sections.cells import without_empty
from kmtard.report.source import Measured, Source
from kmtard.runs.documents import table as subtable
from kmtard.runs.formats import ABSENT
from kmtard.runs.tables import Table

SELECTION = {"test": "test images", "held_out": "held-out images"}
NOTES = (
    "recipe: hash of the settings without the seed and the folders. revision: the git "
    "commit of kmtard; + means that the files had uncommitted changes. best epoch by: "
    "the images on which the best epoch was chosen.",
    "kmtard fit --replay RUN repeats a run and says whether the results are the same.",
)


def provenance(source: Source) -> Section:
    """Return the environment, settings and command of each run."""
    runs = source.runs
    if not runs:
        return Section("provenance", "Provenance")
    header = ["run", "state", "seed", "backend", "device", "recipe", "revision"]
    header += ["best epoch by", "images", "tags"]
    rows = [_row(run) for run in runs]
    header, rows = without_empty(header, rows, ("device", "revision", "tags"))
    made = Table(header, rows, {"seed", "images"}, notes=NOTES)
    commands = Table(
        ["run", "command"],
        [[run.run.name, _command(run)] for run in runs],
        code=["command"],
    )
    return Section("provenance", "Provenance", [made, _versions(source), commands])


def _row(run: Measured) -> list[str]:
    environment = (run.results.environment if run.results else None) or {}
    images = run.results.images if run.results else None
    return [
        run.run.name,
        run.state,
        run.seed or ABSENT,
        str(run.info.get("backend") or environment.get("backend") or ABSENT),
        _devices(run),
        recipe_hash(run),
        str(run.info.get("revision") or ABSENT),
        SELECTION.get(run.settings.get("evaluation.selection", ""), "held-out images"),
        ABSENT if images is None else str(images),
        " ".join(run.tags) or ABSENT,
    ]


def _devices(run: Measured) -> str:
    """Return the devices of a run, with their number if there are several."""
    names = ", ".join(run.history.devices) or ABSENT
    count, processes = run.info.get("devices"), run.info.get("processes")
    if not isinstance(count, int) or count < 2:
        return names
    shared = f" in {processes} processes" if processes not in (None, 1) else ""
    return f"{count} devices{shared}: {names}"


def recipe_hash(run: Measured) -> str:
    """Return the hash of a run's settings; a dash if this version cannot read them."""
    try:
        return settings_key(load(run.run.recipe_path))
    except (RecipeError, OSError):
        return ABSENT


def _command(run: Measured) -> str:
    argv = run.info.get("argv")
    if not isinstance(argv, list) or not all(isinstance(each, str) for each in argv):
        return ABSENT
    return shlex.join(argv)


def _versions(source: Source) -> Table:
    found: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for run in source.runs:
        versions = _mapping(run.info.get("versions"))
        if not versions and run.results:
            versions = _mapping(subtable(run.results.environment or {}, "versions"))
        found.setdefault(tuple(versions.items()), []).append(run.run.name)
    packages = list(dict.fromkeys(name for each in found for name, _ in each))
    rows = []
    for pairs, names in found.items():
        known = dict(pairs)
        first = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
        if len(found) == 1:
            first = "all"
        rows.append([first, *(known.get(name, ABSENT) for name in packages)])
    return Table(["runs", *packages], rows)


def _mapping(value: Any) -> Mapping[str, str]:
    return {str(k): str(v) for k, v in value.items()} if isinstance(value, dict) else {}
