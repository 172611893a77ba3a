"""The unbroken run for comparison with all others, and processes for broken runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from kmtard.runs import Run
from tests.reliability.children import Children, Ended, only_run
from tests.reliability.server import prepare
from tests.run_facts import facts


@dataclass(frozen=True)
class Unbroken:
    """A run without any interruption.

    Attributes:
        run: its folder, in its own working folder.
        ended: how its process ended, with its output.
        facts: the values that every equal run must have, too.
        operations: its writes in order, such as `rename student.keras`.
    """

    run: Run
    ended: Ended
    facts: dict[str, Any]
    operations: tuple[str, ...]

    def places(self) -> dict[str, list[int]]:
        """Return kind -> the numbers of its operations, counted from 1."""
        found: dict[str, list[int]] = {}
        for number, name in enumerate(self.operations, 1):
            kind = "npz" if name.endswith(".npz") else name
            kind = "png" if name.endswith(".png") else kind
            found.setdefault(f"{name.split()[0]} {kind.split()[-1]}", []).append(number)
        return found


@pytest.fixture(scope="session")
def children(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Children]:
    """A process with Keras loaded, which starts runs in separate processes."""
    with Children(tmp_path_factory.mktemp("printed")) as started:
        yield started


@pytest.fixture(scope="session")
def unbroken(children: Children, tmp_path_factory: pytest.TempPathFactory) -> Unbroken:
    """The run of the recipe, from start to end in one process."""
    folder = tmp_path_factory.mktemp("unbroken")
    prepare(folder)
    trace = folder / "operations"
    ended = children("fit", "tiny.toml", cwd=folder, fault={"trace": str(trace)})
    assert ended.code == 0, ended.text
    run = only_run(folder)
    operations = tuple(trace.read_text().splitlines())
    return Unbroken(run, ended, facts(run), operations)
