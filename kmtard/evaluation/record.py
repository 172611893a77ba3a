"""The file of an evaluation: one file for each set of conditions.

`evaluation.json` holds the evaluation of the run, or the first evaluation of a model.
Evaluations under other conditions are in `evaluation/NAME.json`, named after their
conditions. Under equal conditions, new attacks are added to the existing file.
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
"""New name of an evaluation.json of version 0.1 when this version writes its own."""


@dataclass(frozen=True)
class Record:
    """The file of an evaluation that is about to begin.

    Args:
        path: path of the file.
        working: folder of finished batches, pictures and further records.
        pictures: folder of this record's PNG images.
        earlier: the evaluation in the file, if it has the same conditions; else None.
        replaces_old: whether version 0.1 wrote the file.
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
        """Return the record for an evaluation, and lock its folder.

        Args:
            folder: folder of the run, or of a model's evaluations; created if missing.
            images: number of images.
            conditions: conditions of the evaluation; see `Evaluation`.
            own: True for evaluation.json whatever it holds, as at the end of a run;
                False for a separate file; None for evaluation.json, unless it holds an
                evaluation under other conditions.

        Raises:
            RunError: a newer version of kmtard wrote the file, another process uses the
                folder, or the folder cannot be created.
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
        """Return the folder of finished batches for a role."""
        make_folder(self.working / "batches")
        return self.working / "batches" / role

    def pictures_of(self, weights: str | None) -> Path:
        """Return the folder of pictures, after removing those of another student.

        Args:
            weights: fingerprint of the student's weights; None if they do not identify
                the student.
        """
        known = None if self.earlier is None else self.earlier.student.weights
        if weights is None or known != weights:
            shutil.rmtree(self.pictures, ignore_errors=True)
        return self.pictures

    def write(self, evaluation: Evaluation) -> Evaluation:
        """Add an evaluation to the earlier one, write both, and return the result.

        Raises:
            RunError: the file cannot be written.
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
    """Return the file name of a record, without suffix, from its conditions.

    Equal conditions have equal names.

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
        raise RunError(
            f"Cannot create the folder {working}: {error.strerror}. Choose another "
            "folder."
        ) from error
    lock_for_life(working / ".lock")
    remove_leftovers(working)
    remove_leftovers(folder, of=RECORD)
    return working


def _read(path: Path) -> tuple[Evaluation | None, bool]:
    """Return the evaluation in a file, if any, and whether version 0.1 wrote it."""
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
