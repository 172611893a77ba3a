"""Detect damaged files by their checksums.

A `.keras` file is a zip file, which has a checksum for each part. HDF5 has no
checksums, so a file of weights ends with a line that contains one. HDF5 ignores this
line. The JSON documents and the events of a run have a key `crc32`, and a run's recipe
has a checksum in its last line. Files without a checksum, which earlier versions wrote,
are accepted.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from kmtard.registry.bounded import open_regular
from kmtard.runs.files import RunError

CRC = "crc32"
"""Key of the checksum in a JSON document, and of each event."""

TRAILER = b"\nkmtard sha256 "
DIGITS = 64
PIECE = 1 << 20

ZIP_END = b"PK\x05\x06"
MOST_PARTS = 0xFFFF  # zip64 files store this and keep the number elsewhere

RECIPE_END = "# sha256 "
RECIPE_HINT = ". If you edit this file, delete this line.\n"


def seal_weights(path: str | os.PathLike[str]) -> None:
    """Append a checksum to a finished file of weights."""
    with open(path, "r+b") as file:
        digest = _sha256(file, os.fstat(file.fileno()).st_size)
        file.seek(0, os.SEEK_END)
        file.write(TRAILER + digest.encode())


def check_intact(path: str | os.PathLike[str], advice: str) -> None:
    """Refuse a saved network that is missing or damaged.

    Args:
        path: a `.keras` file, or a file of weights.
        advice: a sentence that says what to do about it.

    Raises:
        RunError: the file is missing, cannot be read, or is damaged.
    """
    try:
        with open_regular(path) as file:
            reason = _damage(file, Path(path).suffix == ".keras")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
    if reason:
        raise RunError(f"Cannot use {path}: {reason}. {advice}")


def _damage(file: BinaryIO, is_zip: bool) -> str:
    if is_zip:
        try:
            with zipfile.ZipFile(file) as archive:
                check_members(file, archive)
                part = archive.testzip()
        # A damaged zip can raise nearly any error, such as one about encryption.
        except Exception as error:
            return f"it is damaged ({error})"
        return f"it is damaged (wrong checksum of {part})" if part else ""
    size = os.fstat(file.fileno()).st_size
    whole = size - len(TRAILER) - DIGITS
    if whole < 0:
        return "" if size else "it is empty"
    file.seek(whole)
    end = file.read()
    if not end.startswith(TRAILER):
        return ""
    file.seek(0)
    same = end[len(TRAILER) :] == _sha256(file, whole).encode()
    return "" if same else "it is damaged (wrong checksum)"


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file in hexadecimal, as `sha256sum` prints it.

    Raises:
        OSError: the file cannot be read.
    """
    with open_regular(path) as file:
        return _sha256(file, os.fstat(file.fileno()).st_size)


def check_members(file: BinaryIO, archive: zipfile.ZipFile) -> None:
    """Refuse a zip file with fewer parts than its end record declares.

    Python does not notice parts that a damaged directory hides.

    Raises:
        zipfile.BadZipFile: parts are missing.
    """
    file.seek(-len(ZIP_END) - 18, os.SEEK_END)
    end = file.read()
    declared, found = int.from_bytes(end[10:12], "little"), len(archive.infolist())
    # With a comment in the file, the end record is elsewhere.
    if end.startswith(ZIP_END) and declared < MOST_PARTS and declared != found:
        raise zipfile.BadZipFile(f"it has {found} of {declared} parts")


def _sha256(file: BinaryIO, size: int) -> str:
    digest = hashlib.sha256()
    while piece := file.read(min(PIECE, size)):
        digest.update(piece)
        size -= len(piece)
    return digest.hexdigest()


def sealed(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON document with its checksum.

    Example:
        >>> sealed({"a": 1})
        {'a': 1, 'crc32': '561bacaf'}
    """
    content = json.loads(json.dumps(document))
    return {**content, CRC: _crc(content)}


def unsealed(document: Any) -> dict[str, Any]:
    """Return a JSON document without its checksum, after checking it.

    Raises:
        ValueError: it is not a JSON object, or its checksum is wrong.

    Example:
        >>> unsealed(sealed({"a": 1}))
        {'a': 1}
    """
    if not isinstance(document, dict):
        raise ValueError("expected a JSON object")
    content = {key: value for key, value in document.items() if key != CRC}
    if CRC in document and document[CRC] != _crc(content):
        raise ValueError(
            f"it is damaged: its checksum {CRC} is wrong. If you edited it yourself, "
            f"delete {CRC} from it"
        )
    return content


def _crc(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return f"{zlib.crc32(text.encode()):08x}"


def sealed_recipe(text: str) -> str:
    """Return the text of a recipe with its checksum in the last line."""
    text = text if text.endswith("\n") or not text else f"{text}\n"
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{text}{RECIPE_END}{digest}{RECIPE_HINT}"


def is_recipe_whole(content: bytes) -> bool:
    """Return whether a recipe matches the checksum in its last line, if it has one.

    Example:
        >>> is_recipe_whole(sealed_recipe("a = 1").encode())
        True
    """
    text, mark, end = content.rpartition(RECIPE_END.encode())
    return not mark or end[:DIGITS] == hashlib.sha256(text).hexdigest().encode()
