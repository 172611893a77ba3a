"""The input of a page about one claim: the record of a model's evaluation."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from kmtard.report.source import Measured
from kmtard.runs.command_line import without_options
from kmtard.runs.files import RunError
from kmtard.runs.folder import Run
from kmtard.runs.records import CLEAN, NetworkResults, Results
from kmtard.runs.results import RECORD, read_all, read_results
from kmtard.runs.studies import StudyFolder

CHOICES = ("--attacks", "--suite")
RADII = ("--epsilon", "--epsilons")
VARYING = ("epsilon", "smaller_epsilons")
"""Conditions in which the records of one curve over the radius differ."""


@dataclass(frozen=True, eq=False)
class Claim:
    """The record of a model's evaluation, and the records at other radii.

    Attributes:
        results: the record.
        records: the records of the same model on the same images that differ only in
            their radius, with `results`, in ascending order.
        folder: folder of the run, or of the model's evaluations.
        other_files: further records in the folder.
    """

    results: Results
    records: Sequence[Results]
    folder: Path
    other_files: Sequence[Path] = ()

    @classmethod
    def at(cls, path: Path) -> Claim | None:
        """Return the claim at a path; None if the path is not that of an evaluation.

        Args:
            path: a record, such as `evaluation.json`; a folder with this file that
                belongs to no run; or a file next to its `.evaluation` folder, such as
                `model.keras`, or the weights of a model of RobustBench.

        Raises:
            RunError: the record does not exist or cannot be read.
        """
        if path.suffix == ".json":
            file = path
        elif not path.is_dir() and (path.suffix == ".keras" or _beside(path).is_dir()):
            file = _beside(path) / RECORD
        elif (path / RECORD).is_file() and not _is_run_or_study(path):
            file = path / RECORD
        else:
            return None
        inside = file.parent.name == "evaluation" and file.name != RECORD
        return cls.of(read_results(file), file.parent.parent if inside else file.parent)

    @classmethod
    def of_run(cls, run: Measured) -> Claim | None:
        """Return the claim about a run's student; None without outcomes per image."""
        if run.results is None or not run.results.student.clean.robust:
            return None
        return cls.of(run.results, run.run.path)

    @classmethod
    def of(cls, results: Results, folder: Path) -> Claim:
        """Return the claim of a record.

        Args:
            results: the record.
            folder: folder of the run, or of the model's evaluations.

        Raises:
            RunError: the record has no outcome per image.
        """
        if not results.student.clean.robust:
            raise RunError(
                f"{results.path} holds accuracies but no outcomes per image: version "
                "0.1 wrote it at the end of a run. Evaluate the model again with "
                "`kmtard evaluate`."
            )
        others = [r for r in read_all(folder)[0] if r.path != results.path]
        curve = [each for each in others if _belongs(each, results)]
        files = [each.path for each in others if each not in curve]
        return cls(results, sorted([results, *curve], key=radius), folder, files)

    @property
    def network(self) -> NetworkResults:
        """The model."""
        return self.results.student

    @cached_property
    def strongest(self) -> str | None:
        """The attack with the lowest accuracy; None if no attack was run."""
        attacks = self.network.attacks
        return min(attacks, key=lambda name: attacks[name].accuracy, default=None)

    @cached_property
    def worst_column(self) -> str | None:
        """The column with the lowest accuracy, of all attacks together if several."""
        columns = self.network.columns
        names = [name for name in columns if name != CLEAN]
        # In a tie, all attacks together are the stronger claim.
        return min(reversed(names), key=lambda n: columns[n].accuracy, default=None)

    @property
    def commands(self) -> list[str]:
        """The command lines that asked for the evaluation; empty if unknown."""
        found = (self.results.environment or {}).get("commands")
        return [str(each) for each in found] if isinstance(found, list) else []

    def command(self, *options: str) -> str:
        """Return a command line that evaluates the model with other options.

        Options that the given ones replace are left out. Without a recorded command,
        the model and its data are placeholders.

        Args:
            *options: options and their values.
        """
        words = ["kmtard", "evaluate", "MODEL.keras", "--data", "DATA"]
        if recorded := _words(self.commands):
            words = recorded
        elif Run(self.folder).info_path.exists():
            words = ["kmtard", "evaluate", str(self.folder)]
        for group in (CHOICES, RADII):
            if any(option in group for option in options):
                words = without_options(words, *group)
        return shlex.join([*words, *options])


def _words(commands: Sequence[str]) -> list[str]:
    """Return the words of the last command; empty if there is none or it is damaged."""
    try:
        return shlex.split(commands[-1]) if commands else []
    except ValueError:
        return []


def radius(results: Results) -> float:
    """Return the radius of a record; 0 if it is unknown."""
    found = (results.conditions or {}).get("epsilon")
    return float(found) if isinstance(found, int | float) else 0.0


def _beside(path: Path) -> Path:
    """Return the folder of the evaluations of a file."""
    return path.with_suffix(".evaluation")


def _is_run_or_study(path: Path) -> bool:
    run = Run(path)
    return (
        StudyFolder(path).is_study()
        or run.info_path.exists()
        or run.recipe_path.exists()
    )


def _belongs(other: Results, results: Results) -> bool:
    """Return whether a record is of the same model, and differs only in its radius."""
    weights = results.student.weights
    return (
        weights is not None
        and other.student.weights == weights
        and _fixed(other) == _fixed(results)
        and other.images == results.images
    )


def _fixed(results: Results) -> dict[str, object]:
    conditions = results.conditions or {}
    return {key: each for key, each in conditions.items() if key not in VARYING}
