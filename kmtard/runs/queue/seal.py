"""Decide which queue entries this user wrote or confirmed on this host.

A runs folder can come from anywhere. A seal proves that an entry is the user's own:
only the user can make it, because its key is in the user's state folder and never in a
runs folder. Studies seal their command lines in the same way.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kmtard.runs.files import RunError, read_regular
from kmtard.runs.places import state_dir
from kmtard.runs.queue.entry import Entry

KEY_BYTES = 32


@dataclass(frozen=True)
class Seal:
    """Makes and checks the seals of one queue.

    A seal is valid only for the same task, on this host and in this folder. A copy of
    the queue in another place must be confirmed again.

    Args:
        folder: folder of the queue.
    """

    folder: Path

    def make(self, entry: Entry) -> str:
        """Return the seal of an entry.

        Raises:
            RunError: the key cannot be read or created.
        """
        return self.sign(_parts(entry))

    def fits(self, entry: Entry) -> bool:
        """Return whether this user made the entry's seal here."""
        return self.is_signed(_parts(entry), entry.seal)

    def sign(self, parts: Sequence[Any]) -> str:
        """Return the seal of any values that JSON can hold.

        Raises:
            RunError: the key cannot be read or created.
        """
        return self._of(parts, _key() or _new_key())

    def is_signed(self, parts: Sequence[Any], seal: str | None) -> bool:
        """Return whether this user made the seal of these values here."""
        key = _key()
        if key is None or not seal:
            return False
        return hmac.compare_digest(self._of(parts, key).encode(), seal.encode())

    def _of(self, parts: Sequence[Any], key: bytes) -> str:
        place = [socket.gethostname(), os.path.realpath(self.folder)]
        message = json.dumps([*place, *parts], sort_keys=True).encode()
        return hmac.new(key, message, hashlib.sha256).hexdigest()


def _parts(entry: Entry) -> list[Any]:
    task = entry.task.as_json() if entry.task else None
    return [entry.id, task, entry.cwd, entry.backend]


def key_path() -> Path:
    """Return the file of the key."""
    return state_dir() / "queue.key"


def _key() -> bytes | None:
    with contextlib.suppress(OSError):
        key = read_regular(key_path(), limit=KEY_BYTES)
        if len(key) == KEY_BYTES:
            return key
    return None


def _new_key() -> bytes:
    path, key = key_path(), secrets.token_bytes(KEY_BYTES)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(key)
                file.flush()
                os.fsync(file.fileno())
            # If two processes create a key, the first one wins.
            with contextlib.suppress(FileExistsError):
                os.link(temporary, path)
        finally:
            os.unlink(temporary)
    except OSError as error:
        raise RunError(
            f"Cannot write {path}: {error.strerror}. The queue needs this file to "
            "recognize your own entries. Make the folder writable, or set "
            "XDG_STATE_HOME to another folder."
        ) from error
    found = _key()
    if found is None:
        raise RunError(
            f"Expected a key of {KEY_BYTES} bytes in {path}. Delete the file; the next "
            "entry creates a new one."
        )
    return found
