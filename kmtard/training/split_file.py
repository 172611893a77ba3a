"""Which files a run trains on, chooses its best epoch by and is tested on."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from kmtard.data.image_list import lines_of
from kmtard.data.pipeline import Split
from kmtard.runs.files import RunError, read_regular, write_atomic

SPLIT_FILE = "split.csv"
"""File in the run's folder with the columns split, class and file."""


def keep_split(path: Path, splits: Mapping[str, Split | None]) -> None:
    """Write the files of each part, or check that they are those of the first start.

    Nothing is written for data whose images have no files of their own.

    Args:
        path: the file in the run's folder.
        splits: name of the part -> its images.

    Raises:
        RunError: the run has begun with other files, or the file cannot be written.
    """
    known = {name: each for name, each in splits.items() if each and each.files}
    if not known:
        return
    text = _text(known)
    if not path.exists():
        write_atomic(path, text)
        return
    before = read_regular(path).decode("utf-8", "replace")
    if before == text:
        return
    old, new = set(before.splitlines()[1:]), set(text.splitlines()[1:])
    changes = [*(f"gone: {each}" for each in sorted(old - new))]
    changes += [f"new: {each}" for each in sorted(new - old)]
    raise RunError(
        f"Expected the same images as when the run began; they are listed in {path}. "
        f"{len(old - new)} entries are gone and {len(new - old)} are new. Restore the "
        f"files, or start a new run:{lines_of(changes)}"
    )


def _text(splits: Mapping[str, Split]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("split", "class", "file"))
    for name, split in splits.items():
        for label, file in zip(split.labels.tolist(), split.files, strict=True):
            kind = split.class_names[label] if split.class_names else label
            writer.writerow((name, kind, file))
    return out.getvalue()
