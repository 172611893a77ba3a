"""Files of strangers: opened only if they are regular files of bounded size."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

KINDS = {
    stat.S_IFDIR: "folder",
    stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


def read_bounded(path: str | os.PathLike[str], most: int) -> bytes:
    """Return the content of a regular file that is not too large.

    A pipe would block whoever opens it, and `/dev/zero` has no end: neither is opened,
    nor is a link to one.

    Args:
        path: the file, or a link to it.
        most: bytes that it may have.

    Raises:
        OSError: there is no such file, it is no regular file, or it is larger;
            `strerror` says which.
        ValueError: the path holds a null character.

    Example:
    ```python
    read_bounded("recipes/digits.toml", 2**18)
    ```
    """
    _check(os.stat(path), path, most)
    # Between the two looks the file may have been replaced by a pipe.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    with open(os.open(path, flags), "rb") as file:
        _check(os.fstat(file.fileno()), path, most)
        content = file.read(most + 1)
    if len(content) > most:
        raise _too_large(path, most)
    return content


def lies_within(path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> bool:
    """Tell whether a path is a folder or lies under it, links followed."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def working_folder() -> Path | None:
    """Return the working folder; None where it has been deleted."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None


def _check(status: os.stat_result, path: str | os.PathLike[str], most: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = KINDS.get(stat.S_IFMT(status.st_mode), "special file")
        text = f"it is a {kind}, not a regular file"
        raise OSError(errno.EINVAL, text, os.fspath(path))
    if status.st_size > most:
        raise _too_large(path, most)


def _too_large(path: str | os.PathLike[str], most: int) -> OSError:
    text = f"it has more than {most:,} bytes"
    return OSError(errno.EFBIG, text, os.fspath(path))
