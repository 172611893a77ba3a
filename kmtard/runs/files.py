"""Files that survive a crash, a full disk and two writers."""

from __future__ import annotations

import contextlib
import fcntl
import os
import uuid
from pathlib import Path
from typing import BinaryIO

from kmtard.registry.bounded import check_regular, read_bounded

LARGEST = 64 * 2**20
"""Bytes that a document of a run has at most, such as run.json."""


class RunError(Exception):
    """A run folder cannot be made, opened, claimed or written; the text says why."""


class LockedError(RunError):
    """Another process holds a lock."""


def read_regular(path: str | os.PathLike[str], *, limit: int = LARGEST) -> bytes:
    """Return the content of a regular file of a run.

    Args:
        path: the file.
        limit: bytes that it has at most.

    Raises:
        OSError: there is no file, it cannot be opened, it is no regular file, or it is
            larger.
    """
    return read_bounded(path, limit)


def append_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file to append to it and to look at its end; made if missing.

    A link is not followed: it may lead out of the folder.

    Raises:
        OSError: it cannot be opened, or it is a link or no regular file.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    with contextlib.suppress(FileNotFoundError):
        check_regular(os.lstat(path), path)
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    return os.fdopen(_checked(descriptor, path), "ab")


def refuse_links(*paths: Path) -> None:
    """Raise RunError if one of the paths is a link.

    For what is written, replaced or deleted below a folder that may come from
    somebody else: a link there may lead to any file of the user.
    """
    for path in paths:
        if path.is_symlink():
            raise RunError(
                f"Expected a file or folder of its own, received a link: {path}. "
                "What it leads to is not changed. Delete the link, or put what it "
                "leads to in its place."
            )


def _checked(descriptor: int, path: str | os.PathLike[str]) -> int:
    try:
        check_regular(os.fstat(descriptor), path)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def write_atomic(path: str | os.PathLike[str], data: bytes | str) -> None:
    """Replace a file's content at once: readers see the old or the new, never a part.

    Args:
        path: the file, in a folder that exists.
        data: the new content; a string is written as UTF-8.

    Raises:
        RunError: it cannot be written, as on a full disk; the old content stays.
    """
    path = Path(path)
    content = data.encode() if isinstance(data, str) else data
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise RunError(f"Cannot write {path}: {error.strerror}.") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    _sync_folder(path.parent)


def whole_hdf5(path: str | os.PathLike[str]) -> str:
    """Say why a whole Keras model in an `.h5` file is refused, and what to do."""
    new = Path(path).with_suffix(".keras")
    return (
        f"{path} holds a whole model in the older HDF5 format. Convert it once, if you "
        "trust its author, and use the new file:\n"
        f'  python -c "import keras; keras.models.load_model({str(path)!r}, '
        f'compile=False).save({str(new)!r})"'
    )


def _sync_folder(path: Path) -> None:
    # Some network file systems cannot; the content is safe, its new name nearly so.
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def lock_for_life(path: str | os.PathLike[str]) -> None:
    """Lock a file, made if missing, until this process ends, in whatever way.

    The process that holds the lock may lock again; a file left behind is no lock.

    Raises:
        LockedError: another process holds the lock.
        RunError: there are no locks here.
    """
    try:
        # A link could make or lock a file elsewhere.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = _checked(os.open(path, flags, 0o666), path)
    except OSError as error:
        raise RunError(f"Cannot open {path}: {error.strerror}.") from error
    # A record lock belongs to the process and not, as flock, to the descriptor: no
    # forked worker keeps it, and the kernel lifts it even after SIGKILL. Closing the
    # file would lift it too, so the descriptor stays open.
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError | PermissionError):
            raise LockedError(
                f"{path} is locked: another process uses this folder. Stop it first."
            ) from error
        raise RunError(
            f"Cannot lock {path}: {error.strerror}. Choose a place on a file system "
            "with locks (runtime.runs_dir)."
        ) from error


def move_into_place(temporary: Path, path: Path) -> None:
    """Flush a finished temporary file and rename it to `path` in one go.

    Raises:
        RunError: it cannot be flushed or renamed; the old `path` stays.
    """
    try:
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise RunError(f"Cannot write {path}: {error.strerror}.") from error
    _sync_folder(path.parent)
