"""The run folder: its layout, owner and state, without importing Keras.

```
NAME/  recipe.toml  run.json  events.jsonl  out.log
       checkpoints/  best/  evaluation.json  evaluation/  report/  notes.json
```
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pwd
import re
import socket
import sys
import time
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kmtard.registry.bounded import lies_within, working_folder
from kmtard.runs.events import EVENTS, EventReader, EventWriter
from kmtard.runs.files import (
    RunError,
    lock_for_life,
    make_folder,
    read_regular,
    refuse_links,
    remove_leftovers,
    write_atomic,
)
from kmtard.runs.intact import is_recipe_whole, sealed, sealed_recipe, unsealed
from kmtard.runs.processes import (
    is_same_process,
    may_be_alive,
    process_start_time,
)

__all__ = [
    "EVENTS",
    "EventReader",
    "EventWriter",
    "Run",
    "RunError",
    "is_same_process",
    "list_runs",
    "process_start_time",
    "safe_name",
    "write_atomic",
]

SCHEMA = 1
"""Version of the run folder, in run.json. Older runs without one can be read too."""

FINAL = {"run_finished": "finished", "run_stopped": "stopped", "run_failed": "failed"}
RUN_EVENTS = ("run_started", *FINAL)
NAME_LENGTH = 60  # characters: 240 bytes at most in UTF-8, where file systems allow 255


class Run:
    """One execution of a recipe. Its folder holds everything that is known about it.

    Use `Run.create` or `Run.open` to get a run.

    Args:
        path: the folder.

    Example:
        >>> import tempfile
        >>> run = Run.create(tempfile.mkdtemp(), "example", "", {"backend": "jax"})
        >>> run.name, run.state(), run.info()["backend"]
        ('example', 'running', 'jax')
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._run_events = EventReader(self.events_path, containing=b'"run_')
        self._last_run_event: str | None = None

    @classmethod
    def create(
        cls,
        runs_dir: str | os.PathLike[str],
        name: str,
        recipe_text: str,
        details: Mapping[str, Any],
    ) -> Run:
        """Create a run folder that is owned by this process.

        Args:
            runs_dir: the folder for all runs; created if missing.
            name: name of the folder. It is passed through `safe_name`, and gets -2, -3
                and so on if such a folder exists.
            recipe_text: the resolved recipe in TOML.
            details: as in `claim`.

        Raises:
            RunError: a folder or file cannot be created.
        """
        try:
            run = cls(_make_folder(Path(runs_dir), safe_name(name)))
        except OSError as error:
            raise RunError(
                f"Cannot create a run folder in {runs_dir}: {error.strerror}. "
                "Choose another folder with runtime.runs_dir."
            ) from error
        run.claim(details)
        # Written last, since it makes the folder a run. A run without an owner needs
        # trust.
        write_atomic(run.recipe_path, sealed_recipe(recipe_text))
        return run

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Run:
        """Return the run in an existing folder.

        Raises:
            RunError: the folder does not exist, has no recipe.toml, or `check` fails.
        """
        run = cls(path)
        if not os.path.isfile(run.recipe_path):
            raise RunError(
                f"Expected the folder of a run, with a recipe.toml in it. "
                f"Received: {path}. Create a run with `kmtard fit RECIPE`."
            )
        run.check()
        return run

    def check(self) -> None:
        """Refuse a run of a newer version, or one whose recipe was damaged.

        Raises:
            RunError: the version is newer, or the recipe is damaged. The text says what
                to do.
        """
        schema = self.info().get("schema")
        if isinstance(schema, int) and schema > SCHEMA:
            raise RunError(
                f"{self.info_path} has schema {schema}; this version of kmtard reads "
                f"schemas up to {SCHEMA}. A newer version made the run: update kmtard."
            )
        try:
            content = read_regular(self.recipe_path)
        except OSError as error:
            raise RunError(
                f"Cannot read {self.recipe_path}: {error.strerror}."
            ) from error
        if not is_recipe_whole(content):
            raise RunError(
                f"{self.recipe_path} was damaged or changed after the run started. "
                "Restore the original. If you edited it yourself, delete its last "
                "line, which is the checksum."
            )

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.path.name

    @property
    def recipe_path(self) -> Path:
        """The resolved recipe. A folder with this file is a run."""
        return self.path / "recipe.toml"

    @property
    def info_path(self) -> Path:
        """The file in which `claim` records the owner."""
        return self.path / "run.json"

    @property
    def events_path(self) -> Path:
        """The events, one JSON object per line."""
        return self.path / "events.jsonl"

    @property
    def log_path(self) -> Path:
        """Standard output and error of the process."""
        return self.path / "out.log"

    @property
    def checkpoints(self) -> Path:
        """Folder for the checkpoints to resume from."""
        return self.path / "checkpoints"

    @property
    def best(self) -> Path:
        """Folder for the best student."""
        return self.path / "best"

    @property
    def evaluation_path(self) -> Path:
        """The accuracies under each attack."""
        return self.path / "evaluation.json"

    @property
    def notes_path(self) -> Path:
        """The user's note and tags."""
        return self.path / "notes.json"

    @property
    def report(self) -> Path:
        """Folder for tables and figures. `kmtard report` creates it."""
        return self.path / "report"

    def claim(self, details: Mapping[str, Any]) -> None:
        """Make this process the owner until it ends, and write run.json.

        Args:
            details: what else to record as JSON, such as versions and the backend. The
                owner's `pid`, `process_start`, `host`, `user`, `argv` and `created` (in
                UNIX seconds, kept when the run is resumed) are added. They replace
                entries of `details` with the same names.

        Raises:
            RunError: the run is owned by another live process, or by a process on
                another host that wrote no final event. Also if run.json cannot be
                written or a part of the run is a link.
        """
        self.refuse_links()
        lock_for_life(self.path / ".lock")
        self._prepare_folders()
        info = self.info()
        try:
            state, pid = self.state(), os.getpid()
        except OSError as error:
            raise RunError(
                f"Cannot read {self.events_path}: {error.strerror}."
            ) from error
        if state == "running" and info["pid"] != pid:
            raise RunError(
                f"Run {self.path} belongs to process {info['pid']}, which is still "
                "running. Stop it first."
            )
        if state == "remote":
            raise RunError(
                f"Run {self.path} belongs to process {info['pid']} on {info['host']}, "
                "which wrote no final event. Resume the run there. If that process has "
                f"certainly ended, delete {self.info_path}."
            )
        owner = {
            "pid": pid,
            "process_start": process_start_time(pid),
            "host": socket.gethostname(),
            "user": user_name(),
            "argv": sys.orig_argv,
            "created": info.get("created", time.time()),
        }
        content = sealed({**details, **owner, "schema": SCHEMA})
        write_atomic(self.info_path, json.dumps(content, indent=2) + "\n")

    def _prepare_folders(self) -> None:
        """Create missing folders, and remove incomplete files of a killed process."""
        for folder in (self.checkpoints, self.best):
            make_folder(folder)
        for folder in (self.best, *self.checkpoints.glob("*")):
            remove_leftovers(folder)
        # The evaluation has its own lock, and removes its own incomplete files.
        for path in (self.recipe_path, self.info_path):
            remove_leftovers(self.path, of=path.name)

    def refuse_links(self) -> None:
        """Check that no file or folder that is written is a link, which may lead out.

        The run folder itself may be a link.

        Raises:
            RunError: one of them is a link.
        """
        parts = (
            *(self.checkpoints, self.best, self.report, self.events_path),
            *(
                self.log_path,
                self.evaluation_path,
                self.evaluation_path.with_suffix(""),
            ),
        )
        refuse_links(*parts)

    def info(self) -> dict[str, Any]:
        """Return the content of run.json; empty if it is missing or damaged."""
        try:
            return unsealed(json.loads(read_regular(self.info_path)))
        except (OSError, ValueError, RecursionError):
            return {}

    def foreign_reason(self) -> str | None:
        """Return why the run is not this user's own, or None if it is.

        A run is the user's own if its folder is inside the working folder and its
        run.json names this user and this host. Versions before 0.2 did not record the
        user; for their runs only folder and host are checked.
        """
        folder, info = working_folder(), self.info()
        if folder is None or not lies_within(self.recipe_path, folder):
            return f"its folder is outside the working folder {folder}"
        if info.get("host") != socket.gethostname():
            return f"{self.info_path} does not name this host"
        if info.get("user", user_name()) != user_name():
            return f"{self.info_path} does not name this user"
        return None

    def events(self) -> EventReader:
        """Return a new reader that begins at the first event."""
        return EventReader(self.events_path)

    def state(self) -> str:
        """Return the state of the run. Further calls on the same object are fast.

        Returns:
            "finished", "stopped" or "failed" if the last `run_*` event says so. Else
            the owner decides:

            - "running": its process is alive on this host.
            - "crashed": its process has ended.
            - "remote": its process is on another host and can only be watched.
            - "unknown": run.json names no process, or names a live process without its
              start time.
        """
        ended = FINAL.get(self._poll_run_event() or "")
        if ended:
            return ended
        info = self.info()
        pid, host = info.get("pid"), info.get("host")
        if not isinstance(pid, int) or not isinstance(host, str):
            return "unknown"
        if host != socket.gethostname():
            return "remote"
        start = info.get("process_start")
        if is_same_process(pid, start):
            return "running"
        return "unknown" if may_be_alive(pid, start) else "crashed"

    def _poll_run_event(self) -> str | None:
        restarts = self._run_events.restarts
        events = [event.get("event") for event in self._run_events.poll()]
        if self._run_events.restarts != restarts:
            self._last_run_event = None
        for event in events:
            if event in RUN_EVENTS:
                self._last_run_event = event
        return self._last_run_event


def each_once(paths: Iterable[Path]) -> list[Path]:
    """Return folders without duplicates that are links to one another.

    A link such as `latest` in the runs folder is not another run.

    Args:
        paths: folders. Their order is kept.
    """
    chosen: dict[str, Path] = {}
    parents: dict[Path, str] = {}
    for path in paths:
        is_link = path.is_symlink()
        if is_link or path.name in ("", ".."):
            place = os.path.realpath(path)
        else:
            # Resolve the common parent folder only once.
            if path.parent not in parents:
                parents[path.parent] = os.path.realpath(path.parent)
            place = os.path.join(parents[path.parent], path.name)
        if place not in chosen or (chosen[place].is_symlink() and not is_link):
            chosen[place] = path
    return list(chosen.values())


def list_runs(runs_dir: str | os.PathLike[str]) -> list[Run]:
    """Return the runs in a folder, newest first. Folders without a run are skipped."""
    if not os.path.isdir(runs_dir):
        return []
    runs = []
    for path in each_once(sorted(Path(runs_dir).glob("[!.]*"))):
        with contextlib.suppress(RunError):
            runs.append(Run.open(path))
    return sorted(runs, key=_created, reverse=True)


def _created(run: Run) -> float:
    created = run.info().get("created")
    return created if isinstance(created, int | float) else 0.0


def user_name() -> str:
    """Return the name of this process's user, or the user's number if it has none."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def safe_name(text: str) -> str:
    """Turn a text into a folder name of letters and digits of any script, and `._-`.

    The name has 1 to 60 characters. It begins and ends with a letter, a digit or an
    underscore. If nothing is left of the text, it is "run".

    Example:
        >>> safe_name("my run: epsilon 8/255")
        'my-run-epsilon-8-255'
    """
    name = re.sub(r"[^\w.-]+", "-", unicodedata.normalize("NFKC", text))
    return name.strip(".-")[:NAME_LENGTH].rstrip(".-") or "run"


def _make_folder(runs_dir: Path, name: str) -> Path:
    runs_dir.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        path = runs_dir / (name if number == 1 else f"{name}-{number}")
        with contextlib.suppress(FileExistsError):
            path.mkdir()
            break
    return path
