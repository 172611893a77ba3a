"""A report of runs with damaged files raises no error."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from kmtard.report.sections import build
from kmtard.report.source import read
from tests.kmtard.report.conftest import Reported

pytestmark = [pytest.mark.once("jax"), pytest.mark.slow]

VALUES = [
    *(None, -1, 0, 10**12, 1e308, -1e308, 1e-320, 3.5, True),
    *("", "x", "1 2 3", "-5 7 99999999999", "<b>", "0" * 40, "1" * 40, [], {}),
]


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    found: list[tuple[Any, Any]] = []
    if isinstance(document, dict):
        found = list(document.items())
    elif isinstance(document, list):
        found = list(enumerate(document))
    for key, value in found:
        yield from places(value, (*path, key))


def damaged(document: Any, chance: random.Random) -> str:
    """Return a document as JSON, with one to three values replaced."""
    copy = json.loads(json.dumps(document))
    # A document without a checksum is read even if it was changed.
    copy.pop("crc32", None)
    for _ in range(chance.randint(1, 3)):
        *path, last = chance.choice(list(places(copy)))
        part = copy
        for key in path:
            part = part[key]
        part[last] = chance.choice(VALUES)
    return json.dumps(copy)


def test_damaged_files_do_not_end_a_report(reported: Reported) -> None:
    runs = [reported("b_mtard", 0), reported("b_mtard", 1), reported("mtard")]
    run, chance = runs[0], random.Random(0)
    record = json.loads(run.evaluation_path.read_text())
    info = run.info()
    events = [json.loads(line) for line in run.events_path.read_text().splitlines()]
    for _ in range(150):
        run.evaluation_path.write_text(damaged(record, chance))
        run.info_path.write_text(damaged(info, chance))
        lines = [damaged(event, chance) + "\n" for event in events]
        run.events_path.write_text("".join(lines))
        source = read([each.path for each in runs])
        assert len(source.runs) == 3
        assert len(build(source)) > 10
