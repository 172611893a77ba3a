"""Runs in separate processes, which tests can kill or give faults."""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from kmtard.runs import Run, list_runs

ROOT = Path(__file__).parents[2]
PATIENCE = 240.0
"""Seconds after which a child counts as hanging."""
WORKERS = 2

Case = TypeVar("Case")


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Attributes:
        code: its exit code; negative if a signal ended it.
        text: everything that it printed.
        seconds: how long it ran.
    """

    code: int
    text: str
    seconds: float


class Children:
    """Starts `kmtard` commands as forked children of a process with Keras loaded.

    Args:
        folder: folder for the output of the children.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.reliability.server"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._count = 0
        self._answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        assert self._answer(PATIENCE) == "ready"

    def _listen(self) -> None:
        assert self._server.stdout is not None
        for line in self._server.stdout:
            self._answers.put(line.strip())

    def _answer(self, patience: float) -> str:
        return self._answers.get(timeout=patience)

    def __enter__(self) -> Children:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.kill()
        self._server.wait()

    def __call__(
        self,
        command: str,
        *argv: str | Path,
        cwd: Path,
        fault: dict[str, Any] | None = None,
        kill_after: float | None = None,
        watch: Callable[[int], None] | None = None,
    ) -> Ended:
        """Run a command to its end.

        Args:
            command: "fit" or "evaluate".
            *argv: its arguments.
            cwd: its working folder.
            fault: the fault to install; see `faults.Faults`.
            kill_after: seconds until SIGKILL.
            watch: called twice per second with the process id of the child.
        """
        self._count += 1
        log = self.folder / f"{self._count}.log"
        request = {
            "command": command,
            "argv": list(map(str, argv)),
            "cwd": str(cwd),
            "log": str(log),
            "fault": fault,
        }
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        began = time.monotonic()
        child = int(self._answer(PATIENCE))
        if kill_after is not None:
            time.sleep(kill_after)
            # The server answers after it reaps the child. Until then the id is valid.
            if self._answers.empty():
                os.kill(child, signal.SIGKILL)
        while watch and self._answers.empty():
            watch(child)
            time.sleep(0.5)
        try:
            code = int(self._answer(PATIENCE))
        except queue.Empty:
            os.kill(child, signal.SIGKILL)
            self._answer(PATIENCE)
            raise AssertionError(f"{command} {argv} hangs; see {log}") from None
        seconds = time.monotonic() - began
        return Ended(code, log.read_text(errors="replace"), seconds)

    def resume(self, cwd: Path, **options: Any) -> Ended:
        """Resume the run in a working folder, or start one if the folder is empty."""
        runs = list_runs(cwd / "runs")
        words = ["--resume", str(runs[-1].path)] if runs else ["tiny.toml"]
        return self("fit", *words, cwd=cwd, **options)


def spread(
    cases: Iterable[Case],
    check: Callable[[Children, Path, Case], object],
    folder: Path,
) -> list[str]:
    """Check cases in parallel; return one text per case that failed.

    Args:
        cases: the cases. Each gets its own working folder, which is kept if the check
            fails.
        check: called with children, the folder, which does not exist yet, and the case.
        folder: parent of the working folders.
    """
    losses: list[str] = []
    left = iter(enumerate(cases))
    taking = threading.Lock()

    def work(number: int) -> None:
        with Children(folder / f"printed-{number}") as children:
            while True:
                with taking:
                    place, case = next(left, (0, None))
                if case is None:
                    return
                own = folder / f"case-{place}"
                try:
                    check(children, own, case)
                except Exception as error:
                    notes = " ".join(getattr(error, "__notes__", ()))
                    kind = type(error).__name__
                    losses.append(f"{own} {case}: {kind}: {error} {notes}")
                else:
                    shutil.rmtree(own, ignore_errors=True)

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(work, range(WORKERS)))
    return losses


def only_run(cwd: Path) -> Run:
    """Return the run of a working folder."""
    [run] = list_runs(cwd / "runs")
    return run


def leftovers(folder: Path) -> list[Path]:
    """Return the temporary files under a folder."""
    return sorted(folder.rglob(".tmp-*"))
