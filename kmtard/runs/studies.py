"""The folder of a study, with the list of its runs and its table.

```
studies/NAME/  study.json  table.md  table.csv  out.log
```

The launcher's processes write `out.log`. `study.json` keeps the command of the study,
sealed as an entry of the queue, so that it can continue with what the user allowed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kmtard.runs.files import RunError, read_regular, refuse_links, write_atomic
from kmtard.runs.folder import Run
from kmtard.runs.queue.seal import Seal
from kmtard.runs.study_task import StudyTask, read_study_task
from kmtard.runs.tables import to_csv, to_markdown

if TYPE_CHECKING:
    from kmtard.runs.groups import Group

SCHEMA = 1
FOLDER = "studies"
"""The folder of all studies, in the folder of the runs."""
RECORD = "study.json"


@dataclass(frozen=True, kw_only=True)
class StudyCell:
    """One cell of a study in `study.json`.

    Attributes:
        name: name of the cell.
        method: its method.
        seed: its seed.
        key: hash of the settings, and the seed. All runs of the cell share it.
        run: name of the folder of its run; None before the run starts.
        state: its state when the study last looked.
        task: the queue's task for it, as `Task.as_json` returns it; empty if unknown.
    """

    name: str
    method: str
    seed: int
    key: str
    run: str | None = None
    state: str = ""
    task: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class StudyRecord:
    """The content of `study.json`.

    Attributes:
        name: name of the study and of its folder.
        recipe: the recipe's file.
        cells: all cells of the study.
        task: the command of the study; None if unknown.
        cwd: the folder in which the command was called; empty if unknown.
        seal: proof that this user called it on this host; see `StudyFolder.is_own`.
    """

    name: str
    recipe: str
    cells: Sequence[StudyCell]
    task: StudyTask | None = None
    cwd: str = ""
    seal: str | None = None


@dataclass(frozen=True)
class StudyFolder:
    """The folder of a study.

    Args:
        path: the folder.

    Example:
        >>> StudyFolder.beside("runs", "digits-table3-1a2b").path
        PosixPath('runs/studies/digits-table3-1a2b')
    """

    path: Path

    @classmethod
    def beside(cls, runs_dir: str | Path, name: str) -> StudyFolder:
        """Return the folder of a study with runs in `runs_dir`."""
        return cls(Path(runs_dir) / FOLDER / name)

    @property
    def runs_dir(self) -> Path:
        """The folder of its runs."""
        return self.path.parent.parent

    @property
    def log_path(self) -> Path:
        """What the processes wrote that the launcher started."""
        return self.path / "out.log"

    def sealed(self, task: StudyTask, cwd: str) -> str:
        """Return the proof that this user called a study so on this host.

        Raises:
            RunError: the user's key cannot be read or created.
        """
        return Seal(self.path).sign(["study", task.as_json(), cwd])

    def is_own(self, record: StudyRecord) -> bool:
        """Return whether this user called the study so on this host."""
        if record.task is None:
            return False
        parts = ["study", record.task.as_json(), record.cwd]
        return Seal(self.path).is_signed(parts, record.seal)

    def is_study(self) -> bool:
        """Return whether the folder has the record of a study."""
        return (self.path / RECORD).is_file()

    def write(self, record: StudyRecord) -> None:
        """Write the record.

        Raises:
            RunError: it cannot be written.
        """
        self.make()
        task = record.task.as_json() if record.task else None
        values = {"schema": SCHEMA, **asdict(record), "task": task}
        write_atomic(self.path / RECORD, json.dumps(values, indent=1) + "\n")

    def make(self) -> None:
        """Make the folder unless it is there.

        Raises:
            RunError: it cannot be made, or is a link.
        """
        refuse_links(self.path.parent, self.path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"Cannot create {self.path}: {error.strerror}.") from error

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Context manager: only one study at a time starts runs in `runs_dir`.

        Raises:
            RunError: the lock file cannot be opened.
        """
        path = self.path.parent / ".lock"
        refuse_links(self.path.parent)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, flags | os.O_NONBLOCK, 0o666)
        except OSError as error:
            raise RunError(f"Cannot open {path}: {error.strerror}.") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def read(self) -> StudyRecord:
        """Return the record.

        Raises:
            RunError: the record is missing, damaged, or of a newer version.
        """
        path = self.path / RECORD
        try:
            values = json.loads(read_regular(path))
            schema = values.pop("schema")
            if schema == SCHEMA:
                return _record(values)
        except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
            raise RunError(f"Expected the record of a study in {path}.") from error
        raise RunError(
            f"{path} has schema {schema!r}; this version of kmtard reads {SCHEMA}."
        )

    def runs(self) -> list[Path]:
        """Return the folders of its runs. Cells without a run are left out.

        Raises:
            RunError: its record cannot be read.
        """
        names = [cell.run for cell in self.read().cells]
        return [self.runs_dir / name for name in names if name is not None]

    def write_tables(self, groups: Sequence[Group]) -> None:
        """Write the table of the finished runs as Markdown and CSV.

        Raises:
            RunError: a file cannot be written.
        """
        # The list of runs imports this module, and needs no tables of results.
        from kmtard.runs.groups import groups_table

        table = groups_table(groups)
        write_atomic(self.path / "table.md", to_markdown(table))
        write_atomic(self.path / "table.csv", to_csv(table))


def collect_finished(paths: Sequence[Path]) -> tuple[list[Group], list[str]]:
    """Return the groups and problems of the finished runs; see `groups.collect`."""
    from kmtard.runs.groups import collect

    return collect(path for path in paths if Run(path).state() == "finished")


def _record(values: dict[str, Any]) -> StudyRecord:
    cells = tuple(StudyCell(**cell) for cell in values.pop("cells"))
    for cell in cells:
        name = cell.run
        # A name must not lead to another folder.
        if name is not None and (type(name) is not str or name != Path(name).name):
            raise ValueError(f"run: received {name!r}")
        if not isinstance(cell.task, dict) or type(cell.seed) is not int:
            raise ValueError(f"cell: received {cell!r}")
        if not all(type(each) is str for each in (cell.name, cell.method, cell.state)):
            raise ValueError(f"cell: received {cell!r}")
    task = values.pop("task", None)
    record = StudyRecord(
        cells=cells, task=None if task is None else read_study_task(task), **values
    )
    texts = (record.name, record.recipe, record.cwd, record.seal or "")
    if not all(type(each) is str for each in texts):
        raise ValueError(f"expected texts, received {texts!r}")
    return record
