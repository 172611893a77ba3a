"""Read arrays safely from `.npz` files that may come from other people."""

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
    """Open an `.npz` file. Each array is read when it is used.

    No code from the file is run, because arrays of Python objects are refused.

    Args:
        path: the file, or a link to it.

    Raises:
        OSError: as in `open_regular`.
        ValueError: the file is damaged, an array holds objects, or the declared size of
            the arrays is larger than this computer's memory.
    """
    try:
        with open_regular(path) as file:
            _refuse_bomb(file)
            # Given a path, np.load would leave a damaged file open.
            with np.load(file, allow_pickle=False) as arrays:
                yield arrays
    # Unknown compression and encryption raise RuntimeError.
    except (EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"it is not a complete .npz file: {error}") from error
    except MemoryError as error:
        raise ValueError(f"an array does not fit in memory: {error}") from error


def _refuse_bomb(file: BinaryIO) -> None:
    # zipfile never reads more of a member than its declared size.
    with zipfile.ZipFile(file) as archive:
        check_members(file, archive)
        declared = sum(member.file_size for member in archive.infolist())
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if declared > memory:
        raise ValueError(
            f"its arrays declare {declared:,} bytes, but this computer has only "
            f"{memory:,} bytes of memory"
        )
    file.seek(0)
