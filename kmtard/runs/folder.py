"""The run folder: its layout, its owner and its state, read without importing Keras.

```
NAME/  recipe.toml  run.json  events.jsonl  out.log
       checkpoints/  best/  evaluation.json  evaluation/  report/
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
"""Version of the run folder, in run.json; runs before it had one are read, too."""

FINAL = {"run_finished": "finished", "run_stopped": "stopped", "run_failed": "failed"}
RUN_EVENTS = ("run_started", *FINAL)
NAME_LENGTH = 60  # characters: 240 bytes at most in UTF-8, where file systems allow 255


class Run:
    """One execution, which is its folder: whoever reads the folder knows the run.

    Args:
        path: the folder. `Run.create` and `Run.open` are the ways to get a run.
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
        """Make a new run folder, owned by this process.

        Args:
            runs_dir: the folder of all runs; made if missing.
            name: name of the folder, after `safe_name`; if taken, with -2, -3, ...
            recipe_text: the resolved recipe, in TOML.
            details: as in `claim`.

        Raises:
            RunError: a folder or file cannot be made.
        """
        try:
            run = cls(_make_folder(Path(runs_dir), safe_name(name)))
        except OSError as error:
            raise RunError(
                f"Cannot make a run folder in {runs_dir}: {error.strerror}. "
                "Choose another place with runtime.runs_dir."
            ) from error
        run.claim(details)
        # Last: it makes the folder a run, and a run without an owner needs trust.
        write_atomic(run.recipe_path, sealed_recipe(recipe_text))
        return run

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Run:
        """Return the run in a folder that exists.

        Raises:
            RunError: the folder is missing, holds no recipe.toml, or `check` fails.
        """
        run = cls(path)
        if not os.path.isfile(run.recipe_path):
            raise RunError(
                f"Expected the folder of a run, with a recipe.toml in it. "
                f"Received: {path}. Runs are made by `python -m kmtard.fit RECIPE`."
            )
        run.check()
        return run

    def check(self) -> None:
        """Refuse a run of a newer version, or one whose recipe was damaged.

        Raises:
            RunError: says which, and what to do.
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
                f"{self.recipe_path} is not as it was when the run began: it is "
                "damaged, or was changed. Put the original in its place. After a "
                "change of your own, delete its last line, the checksum."
            )

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.path.name

    @property
    def recipe_path(self) -> Path:
        """The resolved recipe; a folder with this file is a run."""
        return self.path / "recipe.toml"

    @property
    def info_path(self) -> Path:
        """What `claim` wrote about the owner."""
        return self.path / "run.json"

    @property
    def events_path(self) -> Path:
        """The events, one JSON object a line."""
        return self.path / "events.jsonl"

    @property
    def log_path(self) -> Path:
        """Standard output and error of the process."""
        return self.path / "out.log"

    @property
    def checkpoints(self) -> Path:
        """Folder of the points to resume from."""
        return self.path / "checkpoints"

    @property
    def best(self) -> Path:
        """Folder of the best student."""
        return self.path / "best"

    @property
    def evaluation_path(self) -> Path:
        """The accuracies under each attack."""
        return self.path / "evaluation.json"

    @property
    def report(self) -> Path:
        """Folder of tables and figures; made by who writes them."""
        return self.path / "report"

    def claim(self, details: Mapping[str, Any]) -> None:
        """Make this process the owner, until it ends, and write run.json.

        Args:
            details: what else to record, as JSON: versions, backend. The owner's
                `pid`, `process_start`, `host`, `user`, `argv` and `created` (UNIX
                seconds, kept at a resume) are added and go before these.

        Raises:
            RunError: another live process owns the run, or one on another host that
                wrote no final event; or run.json cannot be written; or a part of the
                run is a link.
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
                f"Run {self.path} belongs to process {info['pid']}, which is alive. "
                "Stop it first."
            )
        if state == "remote":
            raise RunError(
                f"Run {self.path} belongs to process {info['pid']} on {info['host']}, "
                "which wrote no final event. Resume it there, or delete "
                f"{self.info_path} if that process is certainly gone."
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
        """Make the folders that are missing, and remove what a kill left half-made."""
        for folder in (self.checkpoints, self.best):
            make_folder(folder)
        for folder in (self.best, *self.checkpoints.iterdir()):
            remove_leftovers(folder)
        # The evaluation has a lock of its own, and looks after its own files.
        for path in (self.recipe_path, self.info_path):
            remove_leftovers(self.path, of=path.name)

    def refuse_links(self) -> None:
        """Raise RunError if a part that is written is a link, which may lead anywhere.

        The folder itself may be a link.
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
        """Return what run.json says; empty if it is missing or unreadable."""
        try:
            return unsealed(json.loads(read_regular(self.info_path)))
        except (OSError, ValueError, RecursionError):
            return {}

    def foreign_reason(self) -> str | None:
        """Return why the run is not this user's own, None where it is.

        A run of one's own lies under the working folder, and its run.json names this
        user and this host. Versions before 0.2 recorded no user; the host counts then.
        """
        folder, info = working_folder(), self.info()
        if folder is None or not lies_within(self.recipe_path, folder):
            return f"its folder lies outside the working folder {folder}"
        if info.get("host") != socket.gethostname():
            return f"{self.info_path} does not name this host"
        if info.get("user", user_name()) != user_name():
            return f"{self.info_path} does not name this user"
        return None

    def events(self) -> EventReader:
        """Return a new reader of the events, at their start."""
        return EventReader(self.events_path)

    def state(self) -> str:
        """Return what the run is doing; quick when called again on the same object.

        The last `run_*` event decides between "finished", "stopped" and "failed".
        Where it is `run_started`, or there is none, the owner decides: "running";
        "crashed", its process is gone; "remote", it is on another host and can only
        be watched; "unknown", run.json does not name it, or names a live process
        without saying when it began.
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
    """Return folders without those that are another one of them under another name.

    A link such as `latest` beside the runs is no further run.

    Args:
        paths: in their order, which stays.
    """
    chosen: dict[str, Path] = {}
    parents: dict[Path, str] = {}
    for path in paths:
        is_link = path.is_symlink()
        if is_link or path.name in ("", ".."):
            place = os.path.realpath(path)
        else:
            # One look at the folder of all runs is enough.
            if path.parent not in parents:
                parents[path.parent] = os.path.realpath(path.parent)
            place = os.path.join(parents[path.parent], path.name)
        if place not in chosen or (chosen[place].is_symlink() and not is_link):
            chosen[place] = path
    return list(chosen.values())


def list_runs(runs_dir: str | os.PathLike[str]) -> list[Run]:
    """Return the runs in a folder, newest first; other folders are skipped."""
    if not os.path.isdir(runs_dir):
        return []
    runs = []
    for path in each_once(sorted(Path(runs_dir).iterdir())):
        with contextlib.suppress(RunError):
            runs.append(Run.open(path))
    return sorted(runs, key=_created, reverse=True)


def _created(run: Run) -> float:
    created = run.info().get("created")
    return created if isinstance(created, int | float) else 0.0


def user_name() -> str:
    """Return the name of this process's user; the number where it has no name."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def safe_name(text: str) -> str:
    """Return a name of one folder: letters and digits of any script, and `._-`.

    It has 1 to 60 characters, begins and ends with a letter, digit or underscore;
    "run" where nothing else is left.
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
