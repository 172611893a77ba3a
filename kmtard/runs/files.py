"""Read, write and lock files safely: with crashes, full disks and two writers."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from kmtard.registry.bounded import check_regular, read_bounded

TEMPORARY = ".tmp-"
"""Prefix of the names of temporary files."""

LARGEST = 64 * 2**20
"""Largest allowed size in bytes of a document of a run, such as run.json."""


class RunError(Exception):
    """A run or its queue cannot be created, opened, changed or read; the text says why.

    The text is for users: commands print it without a traceback.
    """


class LockedError(RunError):
    """Another process holds a lock."""


def read_regular(path: str | os.PathLike[str], *, limit: int = LARGEST) -> bytes:
    """Return the content of a regular file of a run.

    Args:
        path: the file.
        limit: largest allowed size in bytes.

    Raises:
        OSError: the file does not exist, cannot be opened, is not a regular file, or is
            larger than `limit`.
    """
    return read_bounded(path, limit)


def append_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file for appending and for reading; create it if missing.

    A link is not followed, because it may lead out of the folder.

    Raises:
        OSError: the file cannot be opened, is a link, or is not a regular file.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    with contextlib.suppress(FileNotFoundError):
        check_regular(os.lstat(path), path)
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    return os.fdopen(_checked(descriptor, path), "ab")


def refuse_links(*paths: Path) -> None:
    """Check that none of the paths is a link.

    Call this before writing, replacing or deleting files in a folder that may come from
    somebody else. A link there could lead to any of the user's files.

    Raises:
        RunError: a path is a link.
    """
    for path in paths:
        if path.is_symlink():
            raise RunError(
                f"Expected a file or folder, received a link: {path}. Its target was "
                "not changed. Delete the link, or replace it with its target."
            )


def _checked(descriptor: int, path: str | os.PathLike[str]) -> int:
    try:
        check_regular(os.fstat(descriptor), path)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


@contextlib.contextmanager
def replaced(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Context manager: write to a temporary file, which then replaces `path`.

    Readers see the old or the new content, never a part of it. The temporary file is in
    the same folder as `path` and has the same suffix. `remove_leftovers` removes
    temporary files of a killed process.

    Args:
        path: the file, in a folder that exists.

    Raises:
        RunError: it cannot be written, as on a full disk; the old content stays.
    """
    path = Path(path)
    temporary = path.with_name(f"{TEMPORARY}{uuid.uuid4().hex[:8]}-{path.name}")
    try:
        yield temporary
        move_into_place(temporary, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_atomic(path: str | os.PathLike[str], data: bytes | str) -> None:
    """Replace a file's content in one step: readers see the old or the new content.

    Args:
        path: the file, in a folder that exists.
        data: the new content; a string is written as UTF-8.

    Raises:
        RunError: the file cannot be written, for example because the disk is full. The
            old content is kept.
    """
    content = data.encode() if isinstance(data, str) else data
    with replaced(path) as temporary, open(temporary, "xb") as file:
        file.write(content)


def remove_leftovers(folder: Path, *, of: str = "", older_than: float = 0.0) -> None:
    """Remove temporary files of `replaced` that killed processes left behind.

    Args:
        folder: folder of the files. Unless it is locked, `older_than` must spare files
            that another process may be writing.
        of: suffix of the names of the files.
        older_than: smallest age of the files in seconds.
    """
    newest = time.time() - older_than
    for path in folder.glob(f"{TEMPORARY}*{of}"):
        with contextlib.suppress(OSError):
            found = path.lstat()
            if stat.S_ISREG(found.st_mode) and found.st_mtime <= newest:
                path.unlink()


def cannot_write(path: str | os.PathLike[str], error: OSError) -> RunError:
    """Return an error about a file that cannot be written."""
    return RunError(f"Cannot write {path}: {_reason(Path(path), error)}")


def _reason(path: Path, error: OSError) -> str:
    if isinstance(error, FileNotFoundError) and not path.parent.is_dir():
        return (
            f"there is no folder {path.parent}. If it was moved, continue the run in "
            "its new place. If it was deleted, restore it."
        )
    reason = error.strerror or str(error)
    # HDF5 replaces the system's message by a long text.
    if error.errno and "errno = " in reason:
        reason = os.strerror(error.errno)
    return f"{reason}."


def make_folder(path: Path, *, parents: int = 0) -> None:
    """Create a folder if it does not exist.

    Args:
        path: the folder.
        parents: number of parent folders to create too. Folders above these are not
            created again if they were deleted while this process was running.

    Raises:
        RunError: the folder cannot be created.
    """
    try:
        if parents and not path.parent.is_dir():
            make_folder(path.parent, parents=parents - 1)
        path.mkdir(exist_ok=True)
    except OSError as error:
        reason = _reason(path, error)
        raise RunError(f"Cannot create the folder {path}: {reason}") from error


def whole_hdf5(path: str | os.PathLike[str]) -> str:
    """Return why a whole Keras model in an `.h5` file is refused, and what to do."""
    new = Path(path).with_suffix(".keras")
    return (
        f"{path} holds a whole model in the older HDF5 format. Convert it once, if you "
        "trust its author, and use the new file:\n"
        f'  python -c "import keras; keras.models.load_model({str(path)!r}, '
        f'compile=False).save({str(new)!r})"'
    )


def _sync_folder(path: Path) -> None:
    # Some network file systems cannot sync a folder. The content is on the disk, and
    # only a crash right now could lose the new name.
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def lock_for_life(path: str | os.PathLike[str]) -> None:
    """Lock a file until this process ends in any way; create it if missing.

    The process that holds the lock may lock again. A file without a process is not
    locked, so nothing has to be cleaned up.

    Raises:
        LockedError: another process holds the lock.
        RunError: the file cannot be locked.
    """
    try:
        # A link could make or lock a file elsewhere.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = _checked(os.open(path, flags, 0o666), path)
    except OSError as error:
        raise RunError(f"Cannot open {path}: {error.strerror}.") from error
    # A record lock belongs to the process, while an flock belongs to the descriptor. So
    # a forked worker does not keep it, and the kernel releases it even after SIGKILL.
    # Closing the file would release it too, so the descriptor stays open.
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError | PermissionError):
            raise LockedError(
                f"{path} is locked: another process uses this folder. Stop it first."
            ) from error
        raise RunError(
            f"Cannot lock {path}: {error.strerror}. Set runtime.runs_dir to a folder "
            "on a file system that supports locks."
        ) from error


def move_into_place(temporary: Path, path: Path) -> None:
    """Flush a finished temporary file and rename it to `path` in one step.

    Raises:
        RunError: the file cannot be flushed or renamed. The old `path` is kept.
    """
    try:
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    _sync_folder(path.parent)
