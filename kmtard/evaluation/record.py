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
from pathlib import Path
from typing import Any

from kmtard.evaluation.result import Evaluation
from kmtard.runs.files import RunError, move_into_place, write_atomic
from kmtard.runs.results import RECORD, NewerSchemaError, parse, read_content

OLD_RECORD = "version-0.1.json"
"""Where the file of version 0.1 goes when this version writes its own."""


@dataclass(frozen=True)
class Record:
    """The file of an evaluation that is about to begin.

    Args:
        path: of the file.
        pictures: folder of its images.
        earlier: what the file holds under the same conditions; None if nothing.
        old: a file of version 0.1 that stands in the way; None if there is none.
    """

    path: Path
    pictures: Path
    earlier: Evaluation | None
    old: Path | None

    @classmethod
    def of(
        cls, folder: Path, images: int, conditions: Mapping[str, Any], own: bool | None
    ) -> Record:
        """Return the record that an evaluation belongs into.

        Args:
            folder: of the run, or of a model's evaluations; exists.
            images: how many.
            conditions: of the evaluation; see `Evaluation`.
            own: True for evaluation.json whatever it holds, as at the end of a run;
                False for a file of its own; None for evaluation.json, unless that
                holds an evaluation under other conditions.

        Raises:
            RunError: a newer version of kmtard wrote the file.
        """
        first = folder / RECORD
        found, old = _read(first)
        if own is None:
            own = found is None or found.conditions == conditions
        if own:
            pictures = folder / "evaluation" / "images"
            same = found is not None and found.conditions == conditions
            return cls(first, pictures, found if same else None, first if old else None)
        name = record_name(images, conditions)
        path = folder / "evaluation" / f"{name}.json"
        return cls(path, path.with_suffix(""), _read(path)[0], None)

    def forget_pictures(self, weights: str) -> None:
        """Remove pictures that are not of a student with these weights."""
        if self.earlier is None or self.earlier.student.weights != weights:
            shutil.rmtree(self.pictures, ignore_errors=True)

    def write(self, evaluation: Evaluation) -> Evaluation:
        """Write an evaluation, added to the earlier one; return what was written.

        Raises:
            RunError: it cannot be written.
        """
        if self.earlier is not None:
            evaluation = evaluation.added_to(self.earlier)
        if self.old is not None and self.old.exists():
            move_into_place(self.old, self.old.with_suffix("") / OLD_RECORD)
        pictures = self.pictures.relative_to(self.path.parent).as_posix()
        content = evaluation.to_dict(folder=pictures)
        write_atomic(self.path, json.dumps(content, indent=2) + "\n")
        return evaluation


def record_name(images: int, conditions: Mapping[str, Any]) -> str:
    """Return the name of a record, without suffix: equal where the conditions are.

    Example:
        >>> conditions = {"seed": 3, "epsilon": 8 / 255, "backend": "jax"}
        >>> record_name(100, conditions)
        '100-images-epsilon-0.0314-seed-3-jax-0b8ef4'
    """
    digest = hashlib.sha256(json.dumps(conditions, sort_keys=True).encode()).hexdigest()
    told = (
        *(f"{images}-images", f"epsilon-{conditions['epsilon']:.3g}"),
        *(f"seed-{conditions['seed']}", conditions["backend"], digest[:6]),
    )
    return "-".join(told)


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
