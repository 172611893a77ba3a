"""Tell whether a file is as it was written: checksums, and what is done about damage.

A `.keras` file is a zip, which has a checksum for each part. HDF5 has none: a file of
weights ends in a line with one, which HDF5 does not read. The JSON documents and the
events of a run hold theirs under `crc32`, and a run's recipe in its last line. Files
without a checksum, as earlier versions wrote them, are taken as they are.
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
MOST_PARTS = 0xFFFF  # and that many where the number is elsewhere

RECIPE_END = "# sha256 "
RECIPE_HINT = ". After a change of your own, delete this line.\n"


def seal_weights(path: str | os.PathLike[str]) -> None:
    """Add a checksum to a finished file of weights."""
    with open(path, "r+b") as file:
        digest = _sha256(file, os.fstat(file.fileno()).st_size)
        file.seek(0, os.SEEK_END)
        file.write(TRAILER + digest.encode())


def check_intact(path: str | os.PathLike[str], advice: str) -> None:
    """Refuse a saved network that is missing or not as it was written.

    Args:
        path: a `.keras` file, or a file of weights.
        advice: what to do about it, a sentence.

    Raises:
        RunError: it is missing, cannot be read, or is damaged.
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
        # Damage raises nearly anything: unknown compression, encryption, zlib.error.
        except Exception as error:
            return f"it is damaged ({error})"
        return f"it is damaged ({part} is not as it was saved)" if part else ""
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
    return "" if same else "it is damaged (not as it was saved)"


def check_members(file: BinaryIO, archive: zipfile.ZipFile) -> None:
    """Refuse a zip that has not as many parts as its end declares.

    A damaged directory can hide some, of which Python says nothing.

    Raises:
        zipfile.BadZipFile: some are missing.
    """
    file.seek(-len(ZIP_END) - 18, os.SEEK_END)
    end = file.read()
    declared, found = int.from_bytes(end[10:12], "little"), len(archive.infolist())
    # After a comment, the end is elsewhere.
    if end.startswith(ZIP_END) and declared < MOST_PARTS and declared != found:
        raise zipfile.BadZipFile(f"it has {found} of {declared} parts")


def _sha256(file: BinaryIO, size: int) -> str:
    digest = hashlib.sha256()
    while piece := file.read(min(PIECE, size)):
        digest.update(piece)
        size -= len(piece)
    return digest.hexdigest()


def sealed(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON document with its checksum."""
    content = json.loads(json.dumps(document))
    return {**content, CRC: _crc(content)}


def unsealed(document: Any) -> dict[str, Any]:
    """Return a JSON document without its checksum, if it fits.

    Raises:
        ValueError: it is no JSON object, or has changed since it was written.
    """
    if not isinstance(document, dict):
        raise ValueError("expected a JSON object")
    content = {key: value for key, value in document.items() if key != CRC}
    if CRC in document and document[CRC] != _crc(content):
        raise ValueError(
            f"it is damaged: its checksum {CRC} does not fit. After a change of your "
            f"own, delete {CRC} from it"
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
    """Tell whether a recipe fits the checksum in its last line, if it has one."""
    text, mark, end = content.rpartition(RECIPE_END.encode())
    return not mark or end[:DIGITS] == hashlib.sha256(text).hexdigest().encode()
