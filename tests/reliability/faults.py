"""Failing writes and kills at an exact place, inside the process of a run.

Every write of a run goes through `kmtard.runs.files` or `kmtard.runs.events`: a
temporary file is opened, written, flushed and renamed; an event or a line of the log is
appended. A fault counts these operations and strikes at one of them.
"""

from __future__ import annotations

import errno
import io
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ERRORS = ("ENOSPC", "EIO", "EACCES")
OPERATIONS = ("open", "write", "flush", "rename", "append", "log")


class Faults:
    """Counts operations, and strikes at one of them.

    Args:
        spec: a table with these keys:
            `at`: number of the operation, from 1.
            `place`: count only operations with this name, such as "rename
            student.keras".
            `kind`: "kill", "short" (write one half, then fail), the name of an errno,
            or "move" or "remove" for the run's folder.
            `when`: "before", "inside" or "after" the operation, for a kill.
            `lasting`: whether all later writes fail as well, as on a full disk.
            `trace`: a file for the names of all operations.
    """

    def __init__(self, spec: dict[str, Any]) -> None:
        self.at = spec.get("at", 0)
        self.kind = spec.get("kind", "")
        self.when = spec.get("when", "before")
        self.lasting = spec.get("lasting", False)
        self.trace = spec.get("trace")
        self.place = spec.get("place", "")
        self.count = 0
        self.struck = False

    def around(
        self,
        operation: str,
        path: object,
        whole: Callable[[], Any],
        half: Callable[[], Any] = lambda: None,
    ) -> Any:
        """Run an operation, or the fault in its place."""
        name = f"{operation} {_plain_name(path)}"
        # Counting by name is stable. Slow epochs write additional `step` events.
        if self.place in ("", name):
            self.count += 1
        if self.trace:
            with open(self.trace, "a") as file:
                file.write(f"{name}\n")
        struck = self.count == self.at and self.place in ("", name) and not self.struck
        self.struck = self.struck or struck
        if not struck and not (self.lasting and self.struck):
            return whole()
        if self.kind in ("move", "remove"):
            [run] = (path for path in Path("runs").iterdir() if path.is_dir())
            run.rename("moved") if self.kind == "move" else shutil.rmtree(run)
            return whole()
        if self.kind == "kill":
            if self.when == "inside":
                half()
            elif self.when == "after":
                whole()
            os.kill(os.getpid(), signal.SIGKILL)
        if self.kind == "short":
            half()
        number = getattr(errno, "ENOSPC" if self.kind == "short" else self.kind)
        raise OSError(number, os.strerror(number), str(path))


def _plain_name(path: object) -> str:
    """Return the name of a file; for a temporary file, that of its target."""
    name = Path(str(path)).name
    return name.split("-", 2)[-1] if name.startswith(".tmp-") else name


def install(spec: dict[str, Any] | None) -> None:
    """Install a fault around the operations of this process."""
    if spec is None:
        return
    import keras

    from kmtard.commands import fit
    from kmtard.runs import events, files

    faults = Faults(spec)

    class File(io.FileIO):
        """A new file with writes that can fail."""

        def write(self, data: Any) -> int:
            def half() -> None:
                super(File, self).write(bytes(data)[: len(data) // 2])

            whole = super().write
            return faults.around("write", self.name, lambda: whole(data), half)

    class Log(io.FileIO):
        def write(self, data: Any) -> int:
            def half() -> None:
                super(Log, self).write(bytes(data)[: len(data) // 2])

            whole = super().write
            return faults.around("log", "out.log", lambda: whole(data), half)

    def open_file(path: Any, mode: str = "r") -> Any:
        if mode != "xb":
            return open(path, mode)
        return faults.around("open", path, lambda: File(path, "xb"))

    def fsync(descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        faults.around("flush", path, lambda: os.fsync(descriptor))

    def replace(source: Any, target: Any) -> None:
        faults.around("rename", target, lambda: os.replace(source, target))

    def write(descriptor: int, data: bytes) -> int:
        def half() -> int:
            return os.write(descriptor, data[: len(data) // 2])

        path = os.readlink(f"/proc/self/fd/{descriptor}")
        return faults.around("append", path, lambda: os.write(descriptor, data), half)

    def saving(save: Callable[..., Any]) -> Callable[..., Any]:
        def saved(*words: Any, **options: Any) -> None:
            path = words[1]

            def half() -> None:
                save(*words, **options)
                os.truncate(path, os.stat(path).st_size // 2)

            whole = lambda: save(*words, **options)  # noqa: E731
            faults.around("write", path, whole, half)

        return saved

    def open_log(path: Any) -> Any:
        append(path).close()
        return io.BufferedWriter(Log(path, "ab"))

    append = files.append_regular
    files.open = open_file  # type: ignore[attr-defined]
    files.os = _changed(os, fsync=fsync, replace=replace)  # type: ignore[assignment]
    events.os = _changed(os, write=write)  # type: ignore[assignment]
    fit.append_regular = open_log  # type: ignore[assignment]
    keras.Model.save = saving(keras.Model.save)
    keras.Model.save_weights = saving(keras.Model.save_weights)
    shutil.copyfile = saving(shutil.copyfile)


def _changed(module: Any, **functions: Any) -> Any:
    return SimpleNamespace(**{**vars(module), **functions})
