"""Safe reading of files from other people: regular files of limited size only."""

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
    """Open a file for reading if it is a regular file.

    Reading a pipe could block forever, reading a device could never end, and opening
    a device can change it. A link to a regular file is followed.

    Raises:
        OSError: the file does not exist, cannot be opened, or is not a regular file;
            `strerror` says which.
        ValueError: the path contains a null character.
    """
    # Check before opening, because opening a device may have an effect. Check again
    # after opening without blocking, because the file may have been replaced.
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
    """Return the content of a regular file of limited size.

    Args:
        path: the file, or a link to it.
        most: largest allowed size in bytes.

    Raises:
        OSError: as in `open_regular`, or the file is larger.
        ValueError: the path contains a null character.

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
    """Check that a file is a regular file.

    Raises:
        OSError: it is not; `strerror` says what it is instead.
    """
    if not stat.S_ISREG(status.st_mode):
        kind = KINDS.get(stat.S_IFMT(status.st_mode), "special file")
        number = errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.EINVAL
        text = f"it is a {kind}, not a regular file"
        raise OSError(number, text, os.fspath(path))


def lies_within(path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> bool:
    """Return whether a path is a folder itself or is inside it; links are followed."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def working_folder() -> Path | None:
    """Return the working folder, or None if it has been deleted."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None
