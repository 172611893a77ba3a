"""Start the tasks of a queue: `python -m kmtard.runs.queue.runner RUNS_DIR`.

The runner needs no user interface. There is one runner per runs folder. It also watches
commands that an earlier runner started, and ends when nothing waits or runs. SIGTERM
ends only the runner, and the commands continue. It starts only entries that this user
wrote or confirmed on this host. If there are several GPUs, each command gets one.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import IO, cast

from kmtard.registry.bounded import open_regular
from kmtard.runs import Run, RunError
from kmtard.runs.files import (
    append_regular,
    lock_for_life,
    write_atomic,
)
from kmtard.runs.processes import process_start_time
from kmtard.runs.queue.entry import Entry
from kmtard.runs.queue.gpus import environment_of, least_used, visible_gpus
from kmtard.runs.queue.queue import Queue
from kmtard.runs.queue.run_finder import RunFinder, owns

PAUSE = 0.5  # seconds between two readings of the queue
LONG_PAUSE = 5.0  # seconds after a failure, such as a full disk
PATIENCE = 10.0  # seconds to wait until the previous runner has ended
BAD_USE = 2

NOT_STARTED = "Not started: the queue's runner has ended."

# The command begins only after its process has been written to the queue's file. If the
# runner dies before that, this shell ends by itself and the task is started again.
# The line that it writes names this start, since the line of an earlier start may still
# be in the log.
START = f"""\
start=$1; shift
read go || {{ echo "{NOT_STARTED} (start $start)" >&2; exit 75; }}
exec "$@" </dev/null"""
LOG_END = 8192  # bytes at the end of a log where that line is looked for

ENDS = {"finished": "finished", "stopped": "cancelled", "failed": "failed"}


class Runner:
    """Starts the entries of a queue in order, and records how they end.

    Args:
        queue: the queue. This process must hold the lock of its runner.
    """

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self._finder = RunFinder(queue.runs_dir)
        self._gpus = visible_gpus()
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._is_stopping = False
        self._said = ""

    def stop(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal: end after the current step."""
        self._is_stopping = True

    def work(self) -> None:
        """Work until nothing waits or runs, or until `stop` is called."""
        while not self._is_stopping:
            try:
                if not self.step():
                    return
                self._said = ""
                time.sleep(PAUSE)
            except (OSError, RunError) as error:
                self._say(str(error))
                time.sleep(LONG_PAUSE)
        self._unregister()

    def step(self) -> bool:
        """Update the queue and start what can start.

        Returns:
            Whether something still waits or runs on this host.

        Raises:
            RunError: the queue cannot be read or written.
        """
        for entry in self.queue.entries():
            if entry.state == "running" and not entry.is_elsewhere:
                self._watch(entry)
        while self._start_next():
            pass
        if any(map(self._is_pending, self.queue.entries())):
            return True
        if not self.queue.folder.is_dir():
            return False
        with self.queue.change() as content:
            if any(map(self._is_pending, content.entries)):
                return True
            # A process that adds an entry after this finds no runner and starts one.
            self._unregister()
            return False

    def _watch(self, entry: Entry) -> None:
        child = self._children.get(entry.id)
        code = child.poll() if child else None
        has_ended = code is not None if child else not entry.is_alive
        run = entry.run or self._finder.find(entry)
        if has_ended:
            self._end(entry, code, run)
        elif run != entry.run:
            with self.queue.change() as content:
                content.update(entry.id, run=run)

    def _end(self, entry: Entry, code: int | None, run: str | None) -> None:
        with self.queue.change() as content:
            if code is None and _was_not_started(entry):
                content.update(entry.id, state="waiting", pid=None, host=None)
                return
            # The entry may have changed since it was read, for example by `stop`.
            for present in content.entries:
                if present.id == entry.id:
                    state = _outcome(present, code, run)
                    content.update(
                        entry.id,
                        state=state,
                        run=run,
                        exit_code=code,
                        ended=time.time(),
                    )
        self._children.pop(entry.id, None)

    def _start_next(self) -> bool:
        """Start the first waiting entry if the limit allows; return whether one was."""
        with contextlib.ExitStack() as unless_written:
            with self.queue.change() as content:
                running = [each for each in content.entries if each.state == "running"]
                waiting = list(filter(self.queue.may_start, content.entries))
                if not waiting or len(running) >= content.limit:
                    return False
                gpu = least_used(self._gpus, (each.gpu for each in running))
                entry = replace(waiting[0], gpu=gpu)
                started = time.time()
                child = _prepare(entry, started)
                if child is None:
                    content.update(entry.id, state="failed", ended=time.time())
                    return True
                unless_written.callback(_release, child)
                content.update(
                    entry.id,
                    state="running",
                    pid=child.pid,
                    process_start=process_start_time(child.pid),
                    host=socket.gethostname(),
                    started=started,
                    gpu=gpu,
                )
            unless_written.pop_all()
        self._children[entry.id] = child
        _release(child, b"go\n")
        return True

    def _is_pending(self, entry: Entry) -> bool:
        if entry.state == "waiting":
            return self.queue.may_start(entry)
        return entry.state == "running" and not entry.is_elsewhere

    def _unregister(self) -> None:
        with contextlib.suppress(OSError):
            self.queue.runner_path.unlink()

    def _say(self, text: str) -> None:
        if text != self._said:
            self._said = text
            _say(text)


def _prepare(entry: Entry, started: float) -> subprocess.Popen[bytes] | None:
    """Start a process that waits for `_release` before it becomes the command.

    Returns:
        The process; None if it cannot be started.

    Raises:
        OSError: the log cannot be opened, for example because the disk is full.
    """
    settings = dict(environment_of(entry.gpu))
    if entry.backend:
        settings["KERAS_BACKEND"] = entry.backend
    try:
        log = append_regular(entry.log)
    except OSError as error:
        if not _is_in_the_way(entry.log):
            raise
        _refuse_log(entry, error)
        return None
    with log:
        try:
            return subprocess.Popen(
                ["/bin/sh", "-c", START, "sh", repr(started), *entry.command],
                cwd=entry.cwd,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **settings},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            log.write(f"Cannot start in {entry.cwd}: {error}\n".encode())
            return None


def _is_in_the_way(path: Path) -> bool:
    """Return whether a link, a folder or a pipe is in the place of a file."""
    try:
        return not stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _refuse_log(entry: Entry, error: OSError) -> None:
    """Write to the runner's log and to the entry's why it cannot have a log."""
    text = (
        f"Not started: expected {entry.log} to be a regular file: {error.strerror}. "
        "The target of a link is not changed. Add the task to the queue again."
    )
    _say(text)
    # This deletes a link but not its target. A folder is kept.
    with contextlib.suppress(OSError):
        entry.log.unlink()
        with append_regular(entry.log) as log:
            log.write(f"{text}\n".encode())


def _release(child: subprocess.Popen[bytes], word: bytes = b"") -> None:
    """Let a prepared process become its command; without a word, let it end."""
    pipe = cast(IO[bytes], child.stdin)
    # The process may have been killed.
    with contextlib.suppress(OSError):
        pipe.write(word)
    with contextlib.suppress(OSError):
        pipe.close()


def _was_not_started(entry: Entry) -> bool:
    line = f"{NOT_STARTED} (start {entry.started!r})\n".encode()
    with contextlib.suppress(OSError), open_regular(entry.log) as log:
        log.seek(max(0, os.fstat(log.fileno()).st_size - LOG_END))
        return line in log.read()
    return False


def _outcome(entry: Entry, code: int | None, run: str | None) -> str:
    last = ""
    with contextlib.suppress(OSError, OverflowError):
        if run is not None and owns(entry, Run(run).info()):
            last = Run(run).state()
    if last in ENDS:
        return ENDS[last]
    if entry.stopping:
        return "cancelled"
    if code is None:
        return "failed" if last == "crashed" else "unknown"
    return "failed" if code else "finished"


def main(argv: list[str] | None = None) -> int:
    """Run the runner.

    Args:
        argv: the arguments; those of this process if left out.

    Returns:
        The exit code. 0: nothing is left to do, another runner is working, or SIGTERM
        stopped it. 1: the queue cannot be used. 2: the command line is wrong.
    """
    words = sys.argv[1:] if argv is None else argv
    if len(words) != 1:
        _say("expected: python -m kmtard.runs.queue.runner RUNS_DIR")
        return BAD_USE
    queue = Queue(Path(words[0]))
    runner = Runner(queue)
    signal.signal(signal.SIGTERM, runner.stop)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        if _is_alone(queue):
            queue.refuse_elsewhere()
            queue.remove_leftovers()
            _register(queue)
            runner.work()
    except (OSError, RunError) as error:
        _say(str(error))
        return 1
    return 0


def _is_alone(queue: Queue) -> bool:
    """Wait for the lock; return False if a working runner holds it."""
    deadline = time.monotonic() + PATIENCE
    queue.folder.mkdir(parents=True, exist_ok=True)
    while True:
        try:
            lock_for_life(queue.runner_lock)
            return True
        except RunError:
            if queue.runner_alive():
                return False
            if time.monotonic() > deadline:
                raise
        time.sleep(PAUSE / 5)


def _register(queue: Queue) -> None:
    pid = os.getpid()
    values = {
        "pid": pid,
        "process_start": process_start_time(pid),
        "host": socket.gethostname(),
    }
    write_atomic(queue.runner_path, json.dumps(values) + "\n")


def _say(text: str) -> None:
    with contextlib.suppress(OSError):
        sys.stdout.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
