"""One run on several devices, and in several processes that execute it in step.

All processes do the same. The first one owns the run's folder; each other one works in
a copy of its own, which is removed at the end. So no file of a run has two writers, and
all processes decide alike without a look at each other's files.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kmtard.backend import distribution
from kmtard.recipe import Mistake, Recipe, RecipeError
from kmtard.runs import Run, RunError

FAILED, GIVEN, WAITING, OWN_TURN = b"F", b"G", b"W", b"T"
"""First byte of what the first process tells the others."""

NOT_COPIED = (".lock", "out.log", "report")

LOST = (
    "Another process of this run has ended, or can no longer be reached. Its own "
    "output says why. Start all processes again with --resume: the run continues from "
    "its last checkpoint."
)


@dataclass(frozen=True)
class Crew:
    """The processes of a run, and the devices that share its batches.

    Attributes:
        devices: number of devices, of all processes together.
        number: of this process, counted from 0.
        processes: number of processes.
    """

    devices: int
    number: int
    processes: int

    @classmethod
    def prepared(cls, recipe: Recipe, path: str) -> Crew:
        """Connect the processes of a recipe, and divide batches among its devices.

        Call this before networks are built.

        Args:
            recipe: the resolved recipe.
            path: the recipe's file, for messages.

        Raises:
            RecipeError: there are fewer devices, or they cannot share a batch equally.
            RunError: the processes cannot find each other.
        """
        runtime = recipe.runtime
        if runtime.processes > 1:
            _join(runtime.processes, runtime.coordinator)
        try:
            devices = distribution.distribute(runtime.devices)
        except ValueError as error:
            text = str(error)
            mistake = Mistake("runtime.devices", text, runtime.devices, place=path)
            raise RecipeError(path, [mistake]) from error
        batch = recipe.data.batch_size
        if batch % devices:
            text = (
                f"expected a multiple of {devices}, the number of devices that share "
                "each batch equally"
            )
            mistake = Mistake("data.batch_size", text, batch, place=path)
            raise RecipeError(path, [mistake])
        return cls(devices, *distribution.process())

    @property
    def writes(self) -> bool:
        """Whether this process owns the run's folder."""
        return self.number == 0

    @property
    def any_process(self) -> Callable[[bool], Callable[[], bool]] | None:
        """What says whether any process got a signal; None if there is but one."""
        return distribution.any_process if self.processes > 1 else None

    @contextlib.contextmanager
    def run(self, make: Callable[[], Run]) -> Iterator[Run]:
        """Yield the run: its folder in the first process, a copy in each other one.

        Args:
            make: creates or opens the run. Only the first process calls it.

        Raises:
            RunError: `make` failed, also if it did so in the first process.
        """
        if self.processes == 1:
            yield make()
        elif self.writes:
            try:
                run = make()
                content = _packed(run.path)
            except RunError as error:
                distribution.broadcast(FAILED + str(error).encode())
                raise
            distribution.broadcast(GIVEN + content)
            yield run
        else:
            said = distribution.broadcast(None)
            if said[:1] == FAILED:
                raise RunError(f"The first process reports: {said[1:].decode()}")
            with tempfile.TemporaryDirectory(prefix="kmtard-process-") as folder:
                yield Run(_unpacked(said[1:], Path(folder)))

    def own(self, recipe: Recipe, run: Run) -> Recipe:
        """Return the recipe to execute here: a copy caches no teachers for others.

        Args:
            recipe: the resolved recipe.
            run: what `run` yields.
        """
        if self.writes:
            return recipe
        update = {"cache_dir": str(run.path.parent / "teachers")}
        runtime = recipe.runtime.model_copy(update=update)
        return recipe.model_copy(update={"runtime": runtime})

    def reason(self, error: BaseException) -> str | None:
        """Return why the run ends if another process has ended; None otherwise."""
        return LOST if distribution.is_lost(error) else None

    def leave(self, code: int, *, at_once: bool) -> None:
        """End with the other processes.

        Python's own end of a process that trained with others waits for all of them.

        Args:
            code: the exit code.
            at_once: whether not to wait: after a failure, the others may be gone.
        """
        if self.processes == 1:
            return
        if not at_once:
            distribution.wait_for_all("end of the run")
        else:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)


def _join(processes: int, coordinator: str | None) -> None:
    try:
        distribution.join(processes, coordinator)
    except (RuntimeError, ValueError) as error:
        raise RunError(
            f"The {processes} processes of this run cannot be connected: {error}\n"
            "Each needs runtime.coordinator (host:port of the first one) and its own "
            "number, counted from 0, in KERAS_DISTRIBUTION_PROCESS_ID. SLURM sets both."
        ) from error


def agreed_turn(
    cached: Path,
    check: Callable[[], None],
    wait_for_turn: Callable[[Callable[[], None]], bool],
) -> bool:
    """Return in all processes whether the first one is to train a teacher.

    If it is not, the others get a copy of the teacher.

    Args:
        cached: this process's file for the teacher.
        check: may raise an exception to stop waiting, in all processes.
        wait_for_turn: waits in the first process, and calls its argument meanwhile.
    """
    process = distribution.process()
    if process.total == 1:
        return wait_for_turn(check)
    if process.writes:

        def tell() -> None:
            # Keeps the others from waiting longer than their connection allows.
            distribution.broadcast(WAITING)
            check()

        is_turn = wait_for_turn(tell)
        distribution.broadcast(OWN_TURN if is_turn else GIVEN + cached.read_bytes())
        return is_turn
    while (said := distribution.broadcast(None)) == WAITING:
        check()
    if said == OWN_TURN:
        return True
    cached.parent.mkdir(parents=True, exist_ok=True)
    cached.write_bytes(said[1:])
    return False


def _packed(folder: Path) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.add(folder, folder.name, filter=_copied)
    return content.getvalue()


def _copied(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    name = Path(member.name)
    saved_images = name.suffix == ".npy"
    return None if name.name in NOT_COPIED or saved_images else member


def _unpacked(content: bytes, folder: Path) -> Path:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        first = archive.getmembers()[0].name
        archive.extractall(folder, filter="data")
    return folder / first
