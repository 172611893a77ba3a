"""Arrays from the `.npz` files of strangers."""

from __future__ import annotations

import contextlib
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np

from kmtard.registry.bounded import open_regular
from kmtard.runs.intact import check_members


@contextlib.contextmanager
def open_arrays(path: str | os.PathLike[str]) -> Iterator[Mapping[str, Any]]:
    """Open the NumPy arrays of an `.npz` file, each of which is read when it is used.

    No code in the file is run: arrays of Python objects are refused.

    Args:
        path: the file, or a link to it.

    Raises:
        OSError: as of `open_regular`.
        ValueError: the file is damaged, an array holds objects, or what the file
            declares is larger than this computer's memory.
    """
    try:
        with open_regular(path) as file:
            _refuse_bomb(file)
            # np.load would leave a damaged file open that it opened itself.
            with np.load(file, allow_pickle=False) as arrays:
                yield arrays
    # Unknown compression and encryption are RuntimeErrors.
    except (EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"it is not a whole .npz file: {error}") from error
    except MemoryError as error:
        raise ValueError(f"an array does not fit into the memory: {error}") from error


def _refuse_bomb(file: BinaryIO) -> None:
    # No member is read beyond the size that it declares.
    with zipfile.ZipFile(file) as archive:
        check_members(file, archive)
        declared = sum(member.file_size for member in archive.infolist())
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if declared > memory:
        raise ValueError(
            f"it declares {declared:,} bytes, and this computer has {memory:,} bytes "
            "of memory"
        )
    file.seek(0)
