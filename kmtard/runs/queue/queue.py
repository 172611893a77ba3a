"""The queue of tasks, in a folder that several processes read and write."""

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
    b"Not started: this entry holds a command of an earlier version that is not one of "
    b"kmtard's own. Launch the recipe again, or resume or evaluate the run.\n"
)


@dataclass(frozen=True)
class RunnerInfo:
    """The process that starts the entries."""

    pid: int
    process_start: float | None
    host: str

    @property
    def is_alive(self) -> bool:
        """Whether it lives on this host."""
        is_here = self.host == socket.gethostname()
        return is_here and is_same_process(self.pid, self.process_start)


class Queue(QueueFile):
    """Tasks, first in first out; a runner of its own process starts them.

    Nothing is written before the first change. Entries that this user did not write on
    this host start nothing before they are confirmed.

    Args:
        runs_dir: folder of the runs; the queue is in `.queue` there.
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
        """So many entries run at a time."""
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
            task: what to do.
            title: for people.
            backend: of Keras, for the environment; any other word leaves it as it is.
            cwd: folder to run it in; the present one if left out.
            run: the run's folder, if there is one before the command runs.

        Raises:
            RunError: the queue cannot be written, or the task waits or runs already.
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
                raise RunError(f"{title}: it is in the queue already.")
            content.entries.append(entry)
        return entry

    def is_own(self, entry: Entry) -> bool:
        """Return whether this user wrote or confirmed an entry on this host."""
        return self._seal.fits(entry)

    def may_start(self, entry: Entry) -> bool:
        """Return whether an entry waits, is a task, and is this user's own."""
        return (
            entry.state == "waiting" and entry.task is not None and self.is_own(entry)
        )

    def unconfirmed(self) -> list[Entry]:
        """Return what waits and starts only after `confirm`.

        Raises:
            RunError: the queue's file cannot be read.
        """
        waiting = [entry for entry in self.entries() if entry.state == "waiting"]
        return [entry for entry in waiting if not self.may_start(entry)]

    def confirm(self, entries: Sequence[Entry]) -> None:
        """Let entries start that this user did not write on this host.

        An entry that has changed since it was read stays as it is. One whose command
        is not kmtard's own fails at once, and its log says why.

        Args:
            entries: as they were shown to the user.

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
        """Take an entry away, with its log.

        Raises:
            RunError: it runs here, or the queue cannot be written.
        """
        with self.change() as content:
            entry = content.find(key)
            if entry.is_alive:
                raise RunError(f"{entry.title} is running: stop it first.")
            content.entries.remove(entry)
        _delete([entry])

    def move(self, key: str, by: int) -> None:
        """Move a waiting entry among those that wait; at an end it stays.

        Raises:
            RunError: it does not wait, or the queue cannot be written.
        """
        with self.change() as content:
            waiting = [e for e in content.entries if e.state == "waiting"]
            if (entry := content.find(key)) not in waiting:
                raise RunError(f"{entry.title}: only what waits can be moved.")
            places = [content.entries.index(each) for each in waiting]
            target = max(0, waiting.index(entry) + by)
            waiting.remove(entry)
            waiting.insert(target, entry)
            for place, each in zip(places, waiting, strict=True):
                content.entries[place] = each

    def clear_finished(self) -> int:
        """Take away what has ended, with its logs; return how many there were."""
        with self.change() as content:
            ended = [entry for entry in content.entries if entry.is_ended]
            content.entries = [e for e in content.entries if not e.is_ended]
        _delete(ended)
        return len(ended)

    def stop(self, key: str) -> None:
        """Ask a running entry to end, as `signals.stop` does.

        Raises:
            RunError: it does not run here; the text says why.
        """
        self._end(key, signals.terminate)

    def kill(self, key: str) -> None:
        """End a running entry at once, as `signals.kill` does.

        Raises:
            RunError: it does not run here; the text says why.
        """
        self._end(key, signals.kill_group)

    def _end(self, key: str, send: Callable[[int, float | None], None]) -> None:
        with self.change() as content:
            entry = content.find(key)
            if entry.is_elsewhere:
                raise RunError(f"{entry.title} is on {entry.host}: watch only.")
            if entry.state != "running" or entry.pid is None:
                raise RunError(f"{entry.title} does not run.")
            send(entry.pid, entry.process_start)
            content.update(key, stopping=True)

    def runner(self) -> RunnerInfo | None:
        """Return the process that registered itself as the runner, dead or alive."""
        try:
            values = json.loads(read_regular(self.runner_path))
            return RunnerInfo(
                int(values["pid"]), values["process_start"], str(values["host"])
            )
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            return None

    def runner_alive(self) -> bool:
        """Whether a runner works on this host."""
        runner = self.runner()
        return runner is not None and runner.is_alive

    def runner_begins(self) -> bool:
        """Whether a runner that this process started begins, works or ends."""
        self._started = [each for each in self._started if each.poll() is None]
        return bool(self._started)

    def ensure_runner(self) -> None:
        """Start the runner, which goes on by itself, unless there is one.

        Raises:
            RunError: entries run on another host, or it cannot be started.
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
        """Raise RunError if entries run on another host, where a runner may be too."""
        for entry in self.entries():
            if entry.is_elsewhere:
                raise RunError(
                    f"{entry.title} runs on {entry.host}: the queue is worked on "
                    "there. If that machine is gone for good, remove the entry."
                )


def _is_pending(other: Entry, entry: Entry) -> bool:
    return not other.is_ended and (other.task, other.run) == (entry.task, entry.run)


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
