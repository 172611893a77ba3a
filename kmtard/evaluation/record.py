"""Where an evaluation is written: one file per conditions, so that nothing mixes.

`evaluation.json` holds the evaluation of the run, or the first one of a model. Others
stand in `evaluation/NAME.json`, with a name made from their conditions. Under equal
conditions new attacks are added to the file that is there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from kmtard.evaluation.result import Evaluation
from kmtard.runs.files import (
    RunError,
    lock_for_life,
    make_folder,
    move_into_place,
    refuse_links,
    remove_leftovers,
    write_atomic,
)
from kmtard.runs.intact import sealed
from kmtard.runs.results import RECORD, NewerSchemaError, parse, read_content

OLD_RECORD = "version-0.1.json"
"""Where the file of version 0.1 goes when this version writes its own."""


@dataclass(frozen=True)
class Record:
    """The file of an evaluation that is about to begin.

    Args:
        path: of the file.
        working: folder of finished batches, pictures and further records.
        pictures: folder of the images in this record.
        earlier: what the file holds under the same conditions; None if nothing.
        replaces_old: whether the file is one of version 0.1.
    """

    path: Path
    working: Path
    pictures: Path
    earlier: Evaluation | None
    replaces_old: bool

    @classmethod
    def of(
        cls,
        folder: str | PathLike[str],
        images: int,
        conditions: Mapping[str, Any],
        own: bool | None,
    ) -> Record:
        """Return the record that an evaluation belongs into, its folder locked.

        Args:
            folder: of the run, or of a model's evaluations; made if missing.
            images: how many.
            conditions: of the evaluation; see `Evaluation`.
            own: True for evaluation.json whatever it holds, as at the end of a run;
                False for a file of its own; None for evaluation.json, unless that
                holds an evaluation under other conditions.

        Raises:
            RunError: a newer version of kmtard wrote the file, another process works
                in the folder, or it cannot be made.
        """
        working = _working_folder(Path(folder))
        first = Path(folder) / RECORD
        found, old = _read(first)
        if own is None:
            own = found is None or found.conditions == conditions
        if own:
            same = found is not None and found.conditions == conditions
            earlier = found if same else None
            return cls(first, working, working / "images", earlier, old)
        name = record_name(images, conditions)
        path = working / f"{name}.json"
        return cls(path, working, working / name, _read(path)[0], False)

    def batches(self, role: str = "") -> Path:
        """Return the folder of the finished batches of a role."""
        make_folder(self.working / "batches")
        return self.working / "batches" / role

    def pictures_of(self, weights: str | None) -> Path:
        """Return the folder of pictures, without those of a student with others.

        Args:
            weights: fingerprint of the student's weights; None if they do not tell.
        """
        known = None if self.earlier is None else self.earlier.student.weights
        if weights is None or known != weights:
            shutil.rmtree(self.pictures, ignore_errors=True)
        return self.pictures

    def write(self, evaluation: Evaluation) -> Evaluation:
        """Write an evaluation, added to the earlier one; return what was written.

        Raises:
            RunError: it cannot be written.
        """
        if self.earlier is not None:
            evaluation = evaluation.added_to(self.earlier)
        if self.replaces_old and self.path.exists():
            move_into_place(self.path, self.working / OLD_RECORD)
        pictures = self.pictures.relative_to(self.path.parent).as_posix()
        content = sealed(evaluation.to_dict(folder=pictures))
        write_atomic(self.path, json.dumps(content, indent=2) + "\n")
        return evaluation


def record_name(images: int, conditions: Mapping[str, Any]) -> str:
    """Return the name of a record, without suffix: equal where the conditions are.

    Example:
        >>> conditions = {"seed": 3, "epsilon": 8 / 255, "backend": "jax"}
        >>> record_name(100, conditions)
        '100-images-epsilon-0.0314-seed-3-jax-21b422'
    """
    digest = hashlib.sha256(json.dumps(conditions, sort_keys=True).encode()).hexdigest()
    told = (
        *(f"{images}-images", f"epsilon-{conditions['epsilon']:.3g}"),
        *(f"seed-{conditions['seed']}", conditions["backend"], digest[:6]),
    )
    return "-".join(told)


def _working_folder(folder: Path) -> Path:
    working = folder / "evaluation"
    images = working / "images"
    refuse_links(folder / RECORD, working, images, working / "batches")
    try:
        working.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"Cannot make {working}: {error.strerror}.") from error
    lock_for_life(working / ".lock")
    remove_leftovers(working)
    remove_leftovers(folder, of=RECORD)
    return working


def _read(path: Path) -> tuple[Evaluation | None, bool]:
    """Return what a file holds, and whether version 0.1 wrote it."""
    try:
        content = read_content(path)
    except NewerSchemaError:
        raise
    except RunError:
        return None, False
    if "schema" not in content:
        return None, True
    with contextlib.suppress(RunError):
        return Evaluation.of(parse(path, content)[0]), False
    return None, False
