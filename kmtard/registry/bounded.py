"""Files of strangers: opened only if they are regular files of bounded size."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

KINDS = {
    stat.S_IFDIR: "folder",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file to read it, and nothing else.

    A pipe would block its reader, a device may never end, and opening one can change
    it. A link to a regular file is followed.

    Raises:
        OSError: there is no file, it cannot be opened, or it is no regular file;
            `strerror` says which.
        ValueError: the path holds a null character.
    """
    # Looked at before: opening a device may do something. Looked at again when it is
    # open, without waiting: it may have been replaced.
    check_regular(os.stat(path), path)
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    descriptor = os.open(path, flags)
    try:
        check_regular(os.fstat(descriptor), path)
    except OSError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def read_bounded(path: str | os.PathLike[str], most: int) -> bytes:
    """Return the content of a regular file that is not too large.

    Args:
        path: the file, or a link to it.
        most: bytes that it may have.

    Raises:
        OSError: as of `open_regular`, or the file is larger.
        ValueError: the path holds a null character.

    Example:
    ```python
    read_bounded("recipes/digits.toml", 2**18)
    ```
    """
    with open_regular(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        text = f"it has more than {most:,} bytes"
        raise OSError(errno.EFBIG, text, os.fspath(path))
    return content


def check_regular(status: os.stat_result, path: str | os.PathLike[str]) -> None:
    """Refuse what is no regular file.

    Raises:
        OSError: `strerror` says what it is instead.
    """
    if not stat.S_ISREG(status.st_mode):
        kind = KINDS.get(stat.S_IFMT(status.st_mode), "special file")
        number = errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.EINVAL
        text = f"it is a {kind}, not a regular file"
        raise OSError(number, text, os.fspath(path))


def lies_within(path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> bool:
    """Tell whether a path is a folder or lies under it, links followed."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def working_folder() -> Path | None:
    """Return the working folder; None where it has been deleted."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None
