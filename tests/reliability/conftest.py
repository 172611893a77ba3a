"""The unbroken run that all others are compared with, and processes to break some."""

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
    """A run that nothing broke.

    Attributes:
        run: its folder, in a working folder of its own.
        ended: what its process said.
        facts: what every equal run has in common with it.
        operations: its writes in their order, such as `rename student.keras`.
    """

    run: Run
    ended: Ended
    facts: dict[str, Any]
    operations: tuple[str, ...]

    def places(self) -> dict[str, list[int]]:
        """Return the operations of each kind by their numbers, from 1."""
        found: dict[str, list[int]] = {}
        for number, name in enumerate(self.operations, 1):
            kind = "npz" if name.endswith(".npz") else name
            kind = "png" if name.endswith(".png") else kind
            found.setdefault(f"{name.split()[0]} {kind.split()[-1]}", []).append(number)
        return found


@pytest.fixture(scope="session")
def children(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Children]:
    """A process with Keras loaded, for runs in processes of their own."""
    with Children(tmp_path_factory.mktemp("printed")) as started:
        yield started


@pytest.fixture(scope="session")
def unbroken(children: Children, tmp_path_factory: pytest.TempPathFactory) -> Unbroken:
    """The run of the recipe, from its begin to its end in one process."""
    folder = tmp_path_factory.mktemp("unbroken")
    prepare(folder)
    trace = folder / "operations"
    ended = children("fit", "tiny.toml", cwd=folder, fault={"trace": str(trace)})
    assert ended.code == 0, ended.text
    run = only_run(folder)
    operations = tuple(trace.read_text().splitlines())
    return Unbroken(run, ended, facts(run), operations)
