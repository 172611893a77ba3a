"""The corruptions that a user asks for, and the errors to compare them with."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kmtard.registry import nearest
from kmtard.registry.corruptions import CORRUPTIONS, SEVERITIES

ALL = "all"
"""Stands for all fifteen corruptions."""

LABELS_FILE = "labels.npy"

Names = str | os.PathLike[str] | Sequence[str]
Baseline = str | os.PathLike[str] | Mapping[str, Any]


@dataclass(frozen=True)
class Corruptions:
    """What to corrupt and how.

    Attributes:
        names: the corruptions, in the order of ImageNet-C.
        folder: folder of published files, such as those of CIFAR-10-C; None to generate
            the images.
        baseline: corruption -> mean error in (0, 1] of the model that mCE refers to;
            empty for none.
    """

    names: tuple[str, ...]
    folder: Path | None = None
    baseline: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, chosen: Names, baseline: Baseline | None = None) -> Corruptions:
        """Return the corruptions for the arguments of `evaluate`.

        Args:
            chosen: "all"; one or several names, also separated by commas; or the
                folder of published files, with `labels.npy` and a file such as
                `gaussian_noise.npy` for each corruption.
            baseline: the errors of the model that mCE refers to, in (0, 1]: corruption
                -> error, or one error per severity. Or a JSON file with this content.

        Raises:
            ValueError: a name is unknown, there is no such folder or file, or the
                baseline lacks a corruption.

        Example:
            >>> Corruptions.of("snow, fog").names
            ('snow', 'fog')
        """
        names, folder = _chosen(chosen)
        errors = {} if baseline is None else _errors(baseline, names)
        return cls(names, folder, errors)


def _chosen(chosen: Names) -> tuple[tuple[str, ...], Path | None]:
    if isinstance(chosen, os.PathLike):
        return _published(Path(chosen))
    # Path would take an empty text for the working folder.
    may_be_folder = isinstance(chosen, str) and chosen not in ("", *CORRUPTIONS)
    if may_be_folder and Path(str(chosen)).is_dir():
        return _published(Path(str(chosen)))
    words = chosen.split(",") if isinstance(chosen, str) else chosen
    asked = [word.strip().lower().replace("-", "_") for word in words if word.strip()]
    if asked == [ALL]:
        return CORRUPTIONS, None
    unknown = [word for word in asked if word not in CORRUPTIONS]
    if unknown or not asked:
        close = [near for word in unknown if (near := nearest(word, CORRUPTIONS))]
        hint = f" Did you mean {', '.join(close)}?" if close else ""
        raise ValueError(
            f"Corruptions must be {ALL}, names among {', '.join(CORRUPTIONS)}, or the "
            f"folder of published files. Received: {chosen!r}.{hint}"
        )
    return tuple(name for name in CORRUPTIONS if name in asked), None


def _published(folder: Path) -> tuple[tuple[str, ...], Path]:
    names = tuple(name for name in CORRUPTIONS if (folder / f"{name}.npy").is_file())
    if not names or not (folder / LABELS_FILE).is_file():
        raise ValueError(
            f"Expected {LABELS_FILE} and files such as {CORRUPTIONS[0]}.npy in "
            f"{folder}, as in CIFAR-10-C. Received: "
            f"{', '.join(names) or 'no corruption'}, "
            f"{'no ' * (not (folder / LABELS_FILE).is_file())}{LABELS_FILE}."
        )
    return names, folder


def _errors(baseline: Baseline, names: Sequence[str]) -> dict[str, float]:
    """Return corruption -> mean error of the baseline, for the given names."""
    content: Any = baseline
    where = "`corruption_baseline`"
    if isinstance(baseline, str | os.PathLike):
        where = os.fspath(baseline)
        try:
            content = json.loads(Path(baseline).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ValueError(
                f"Expected a JSON file with the errors of a model, corruption -> "
                f"error, in {where}: {error}."
            ) from error
    if not isinstance(content, Mapping):
        raise ValueError(
            f"Expected corruption -> error in {where}. Received: an object of type "
            f"{type(content).__name__}."
        )
    missing = [name for name in names if name not in content]
    unknown = [str(name) for name in content if name not in CORRUPTIONS]
    if missing or unknown:
        raise ValueError(
            f"Expected an error for each evaluated corruption in {where}. Missing: "
            f"{', '.join(missing) or 'none'}. Unknown: {', '.join(unknown) or 'none'}."
        )
    return {name: _error(content[name], name, where) for name in names}


def _error(value: Any, name: str, where: str) -> float:
    values = [value] if isinstance(value, int | float) else value
    count = len(values) if isinstance(values, list | tuple) else 0
    if count not in (1, len(SEVERITIES)) or not all(
        isinstance(each, int | float) and 0 < each <= 1 for each in values
    ):
        raise ValueError(
            f"Expected one error of {name} or {len(SEVERITIES)}, one per severity, in "
            f"(0, 1], such as 0.886 for 88.6 %, in {where}. Received: {value!r}."
        )
    return float(sum(values)) / count
