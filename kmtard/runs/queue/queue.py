"""The queue of tasks, kept in a folder that several processes read and write."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kmtard.runs import RunError, signals
from kmtard.runs.files import append_regular, read_regular
from kmtard.runs.processes import is_same_process
from kmtard.runs.queue.entry import BACKENDS, Entry
from kmtard.runs.queue.queue_file import QueueFile, problem
from kmtard.runs.queue.seal import Seal
from kmtard.runs.queue.task import Task

__all__ = ["Entry", "Queue", "RunnerInfo"]


REFUSED = (
    b"Not started: an earlier version wrote this entry, and its command is not one of "
    b"kmtard's own. Launch the recipe again, or resume or evaluate the run.\n"
)


@dataclass(frozen=True)
class RunnerInfo:
    """The process that starts the entries.

    Attributes:
        pid: number of the process.
        process_start: its start time, as returned by `process_start_time`.
        host: name of its machine.
    """

    pid: int
    process_start: float | None
    host: str

    @property
    def is_alive(self) -> bool:
        """Whether it is alive on this host."""
        is_here = self.host == socket.gethostname()
        return is_here and is_same_process(self.pid, self.process_start)


class Queue(QueueFile):
    """Tasks, first in, first out. A runner in a separate process starts them.

    No file is written before the first change. Entries that this user did not write on
    this host must be confirmed before they start.

    Args:
        runs_dir: folder that holds the runs. The queue is in its folder `.queue`.
    """

    def __init__(self, runs_dir: Path) -> None:
        self.runs_dir = Path(os.path.abspath(runs_dir))
        super().__init__(self.runs_dir / ".queue")
        self.runner_log = self.folder / "runner.log"
        self.runner_lock = self.folder / "runner.lock"
        self.runner_path = self.folder / "runner.json"
        self._seal = Seal(self.folder)
        self._started: list[subprocess.Popen[bytes]] = []

    def entries(self) -> list[Entry]:
        """Return the entries in their order.

        Raises:
            RunError: the queue's file cannot be read.
        """
        return self.read().entries

    @property
    def limit(self) -> int:
        """Number of entries that may run at the same time."""
        return self.read().limit

    @limit.setter
    def limit(self, number: int) -> None:
        with self.change() as content:
            content.limit = max(1, number)

    def add(
        self,
        task: Task,
        title: str,
        backend: str,
        cwd: str | None = None,
        run: Path | None = None,
    ) -> Entry:
        """Append a task.

        Args:
            task: the task.
            title: text that users see.
            backend: Keras backend, set in the command's environment. Any word that is
                not a backend leaves the environment unchanged.
            cwd: folder to run it in; the working folder if left out.
            run: the run's folder, if it exists before the command starts.

        Raises:
            RunError: the queue cannot be written, or the same task for `run` already
                waits or runs.
        """
        key = uuid.uuid4().hex
        entry = Entry(
            id=key,
            title=title,
            task=task,
            cwd=cwd or os.getcwd(),
            backend=backend if backend in BACKENDS else "",
            added=time.time(),
            log=self.logs / f"{key}.log",
            run=None if run is None else str(run),
        )
        entry = replace(entry, seal=self._seal.make(entry))
        with self.change() as content:
            if run and any(_is_pending(other, entry) for other in content.entries):
                raise RunError(f"{title} is already in the queue.")
            content.entries.append(entry)
        return entry

    def is_own(self, entry: Entry) -> bool:
        """Return whether this user wrote or confirmed an entry on this host."""
        return self._seal.fits(entry)

    def granted(self, run: Path) -> Task | None:
        """Return the user's newest own task for a run, which holds what it may run.

        Raises:
            RunError: the queue's file cannot be read.
        """
        path = os.path.abspath(run)
        for entry in reversed(self.entries()):
            if entry.run is not None and os.path.abspath(entry.run) == path:
                if entry.task is not None and self.is_own(entry):
                    return entry.task
        return None

    def may_start(self, entry: Entry) -> bool:
        """Return whether an entry waits, has a task, and is this user's own."""
        return (
            entry.state == "waiting" and entry.task is not None and self.is_own(entry)
        )

    def unconfirmed(self) -> list[Entry]:
        """Return the waiting entries that start only after `confirm`.

        Raises:
            RunError: the queue's file cannot be read.
        """
        waiting = [entry for entry in self.entries() if entry.state == "waiting"]
        return [entry for entry in waiting if not self.may_start(entry)]

    def confirm(self, entries: Sequence[Entry]) -> None:
        """Allow entries to start that this user did not write on this host.

        An entry that has changed since it was read is not confirmed. An entry whose
        command is not one of kmtard's own fails at once, and its log says why.

        Args:
            entries: the entries as they were shown to the user.

        Raises:
            RunError: the queue cannot be written.
        """
        shown = {entry.id: entry for entry in entries}
        with self.change() as content:
            for entry in content.entries:
                same = shown.get(entry.id)
                if same is None or not _does_the_same(same, entry):
                    continue
                if entry.task is not None:
                    content.update(entry.id, seal=self._seal.make(entry))
                elif entry.state == "waiting":
                    with contextlib.suppress(OSError), append_regular(entry.log) as log:
                        log.write(REFUSED)
                    content.update(entry.id, state="failed", ended=time.time())

    def remove(self, key: str) -> None:
        """Remove an entry and its log.

        Raises:
            RunError: the entry is running on this host, or the queue cannot be written.
        """
        with self.change() as content:
            entry = content.find(key)
            if entry.is_alive:
                raise RunError(f"{entry.title} is running: stop it first.")
            content.entries.remove(entry)
        _delete([entry])

    def move(self, key: str, by: int) -> None:
        """Move a waiting entry up or down among the waiting entries.

        Args:
            key: the entry's id.
            by: number of places, negative to move it towards the front. Past either end
                it stops there.

        Raises:
            RunError: the entry does not wait, or the queue cannot be written.
        """
        with self.change() as content:
            waiting = [e for e in content.entries if e.state == "waiting"]
            if (entry := content.find(key)) not in waiting:
                raise RunError(
                    f"{entry.title} is not waiting. Only waiting entries can be moved."
                )
            places = [content.entries.index(each) for each in waiting]
            target = max(0, waiting.index(entry) + by)
            waiting.remove(entry)
            waiting.insert(target, entry)
            for place, each in zip(places, waiting, strict=True):
                content.entries[place] = each

    def clear_finished(self) -> int:
        """Remove the entries that have ended and their logs; return their number."""
        with self.change() as content:
            ended = [entry for entry in content.entries if entry.is_ended]
            content.entries = [e for e in content.entries if not e.is_ended]
        _delete(ended)
        return len(ended)

    def stop(self, key: str) -> None:
        """Ask a running entry to end, as `signals.stop` does.

        Raises:
            RunError: the entry is not running on this host; the text says why.
        """
        self._end(key, signals.terminate)

    def kill(self, key: str) -> None:
        """End a running entry at once, as `signals.kill` does.

        Raises:
            RunError: the entry is not running on this host; the text says why.
        """
        self._end(key, signals.kill_group)

    def _end(self, key: str, send: Callable[[int, float | None], None]) -> None:
        with self.change() as content:
            entry = content.find(key)
            if entry.is_elsewhere:
                raise RunError(f"{entry.title} is on {entry.host}: watch only.")
            if entry.state != "running" or entry.pid is None:
                raise RunError(f"{entry.title} is not running.")
            send(entry.pid, entry.process_start)
            content.update(key, stopping=True)

    def runner(self) -> RunnerInfo | None:
        """Return the process that last registered as the runner, alive or not."""
        try:
            values = json.loads(read_regular(self.runner_path))
            return RunnerInfo(
                int(values["pid"]), values["process_start"], str(values["host"])
            )
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            return None

    def runner_alive(self) -> bool:
        """Return whether a runner is alive on this host."""
        runner = self.runner()
        return runner is not None and runner.is_alive

    def runner_begins(self) -> bool:
        """Return whether a runner that this process started has not ended yet."""
        self._started = [each for each in self._started if each.poll() is None]
        return bool(self._started)

    def ensure_runner(self) -> None:
        """Start a runner if none is alive. It continues when this process ends.

        Raises:
            RunError: entries run on another host, or the runner cannot be started.
        """
        if self.runner_alive():
            return
        self.refuse_elsewhere()
        command = [sys.executable, "-m", "kmtard.runs.queue.runner", str(self.runs_dir)]
        self._refuse_links()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with append_regular(self.runner_log) as log:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            self._started.append(process)
        except OSError as error:
            raise problem(self.folder, error) from error

    def refuse_elsewhere(self) -> None:
        """Check that no entry runs on another host, which may have a runner too.

        Raises:
            RunError: an entry runs on another host.
        """
        for entry in self.entries():
            if entry.is_elsewhere:
                raise RunError(
                    f"{entry.title} runs on {entry.host}, so that machine works on the "
                    "queue. If the machine no longer exists, remove the entry."
                )


def _is_pending(other: Entry, entry: Entry) -> bool:
    if other.is_ended or other.run != entry.run:
        return False
    return other.task is not None and other.task.is_same_work(entry.task)


def _does_the_same(one: Entry, other: Entry) -> bool:
    return (one.task, one.refused, one.cwd, one.backend) == (
        other.task,
        other.refused,
        other.cwd,
        other.backend,
    )


def _delete(entries: Sequence[Entry]) -> None:
    for entry in entries:
        with contextlib.suppress(OSError):
            entry.log.unlink()
