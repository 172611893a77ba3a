"""Store finished batches on disk: one file per batch, one folder per setting."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kmtard.data.arrays import open_arrays
from kmtard.runs.files import (
    make_folder,
    read_regular,
    refuse_links,
    remove_leftovers,
    write_atomic,
)

SETTINGS = "settings.json"
FORMAT = 1  # increase it when the meaning of a stored batch changes

Batch = dict[str, np.ndarray]


class BatchStore:
    """The batches of one attack under one setting.

    A batch is stored completely or not at all, even after SIGKILL: its file is written
    under another name, flushed and renamed. Each setting has its own folder, so that
    batches of different settings are never mixed.

    Args:
        root: folder of all settings; created if missing, in an existing folder.
        name: name of the attack; the folder's name begins with it.
        settings: all settings that determine the batches, as plain JSON.
        keep: whether to use existing batches; otherwise they are removed.

    Raises:
        RunError: the folder cannot be written.
    """

    def __init__(
        self, root: Path, name: str, settings: Mapping[str, Any], *, keep: bool = True
    ) -> None:
        text = json.dumps({"format": FORMAT, **settings}, sort_keys=True, indent=2)
        key = hashlib.sha256(text.encode()).hexdigest()[:16]
        self._root, self._name = root, name
        self.path = root / f"{name}-{key}"
        refuse_links(root, self.path)
        if not keep:
            shutil.rmtree(self.path, ignore_errors=True)
        remove_leftovers(self.path)
        self.is_new = not (self.path / SETTINGS).exists()
        if self.is_new:
            make_folder(self.path, parents=1)
            write_atomic(self.path / SETTINGS, text + "\n")

    def differences(self) -> list[str]:
        """Return the differences from the newest other setting with this name.

        Returns:
            One text per key, such as `epsilon: 0.1, now 0.2`; empty if there is no
            other setting.
        """
        others = [
            path
            for path in self._root.glob(f"{self._name}-{'[0-9a-f]' * 16}/{SETTINGS}")
            if path.parent != self.path
        ]
        if not others:
            return []
        newest = max(others, key=os.path.getmtime)
        then, now = _flat(newest), _flat(self.path / SETTINGS)
        return [
            f"{key}: {then.get(key)}, now {now.get(key)}"
            for key in sorted(then.keys() | now.keys())
            if then.get(key) != now.get(key)
        ]

    def read(self, number: int, indices: np.ndarray) -> Batch | None:
        """Return a finished batch, or None if it is not finished.

        Args:
            number: number of the batch, counted from 0.
            indices: expected numbers of its images.
        """
        try:
            with open_arrays(self._file(number)) as arrays:
                batch = dict(arrays)
        except (OSError, ValueError):
            return None
        whole = np.array_equal(batch.get("indices", ()), indices)
        return batch if whole else None

    def write(self, number: int, batch: Batch) -> None:
        """Store a finished batch.

        Raises:
            RunError: the file cannot be written, for example on a full disk.
        """
        content = io.BytesIO()
        np.savez_compressed(content, **batch)  # type: ignore[arg-type]
        write_atomic(self._file(number), content.getvalue())

    def _file(self, number: int) -> Path:
        return self.path / f"{number:06d}.npz"


def _flat(path: Path) -> dict[str, Any]:
    """Return the settings in a file with dotted keys; empty if it cannot be read."""
    try:
        return dict(_items(json.loads(read_regular(path)), ""))
    except (OSError, ValueError):
        return {}


def _items(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _items(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
