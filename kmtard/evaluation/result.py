"""What an evaluation found: plain data, from which every figure is worked out."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from kmtard.evaluation.diagnostics.finding import Finding
from kmtard.evaluation.statistics import w_robust, wilson_interval
from kmtard.runs.files import RunError

CLEAN = "clean"
WORST_CASE = "worst case"
FORMAT = 1


@dataclass(frozen=True)
class Cost:
    """What an attack cost an image that it attacked, in the mean if not said.

    Attributes:
        queries: images the model was asked about.
        median_queries: median over the images that were fooled; None without any.
        max_queries: the most for one image.
        forwards: forward passes, the one that judges included.
        backwards: backward passes.
        seconds: wall time of all images together, compilation included.
    """

    queries: float
    median_queries: float | None
    max_queries: int
    forwards: float
    backwards: float
    seconds: float


@dataclass(frozen=True)
class Distance:
    """Mean distance of the fooled images from the clean ones; None without any.

    Attributes:
        linf: largest change of a pixel, in [0, 1].
        l2: Euclidean length of the change.
    """

    linf: float | None
    l2: float | None


@dataclass(frozen=True, eq=False)
class Column:
    """The images that one attack left right.

    Attributes:
        robust: bool (images,), classified right as they are and under attack.
        settings: what the attack was made of.
        cost: of the attack; None where nothing was attacked, as in the worst case.
        distance: how far the fooled images are from the clean ones.
        stages: robust images after each stage of an attack that has several.
    """

    robust: np.ndarray
    settings: Mapping[str, Any]
    cost: Cost | None = None
    distance: Distance | None = None
    stages: Mapping[str, int] | None = None

    @property
    def correct(self) -> int:
        """Number of images left right."""
        return int(np.count_nonzero(self.robust))

    @property
    def accuracy(self) -> float:
        """Share of all images left right, in [0, 1]."""
        return self.correct / len(self.robust)

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson interval of the accuracy, 95 %."""
        return wilson_interval(self.correct, len(self.robust))

    def by_class(self, labels: np.ndarray) -> dict[int, float]:
        """Return the accuracy on each class that has images."""
        return {
            int(label): float(np.mean(self.robust[labels == label]))
            for label in np.unique(labels)
        }

    def worst_class(self, labels: np.ndarray) -> tuple[int, float]:
        """Return the class with the lowest accuracy, the first of them, and that."""
        return min(self.by_class(labels).items(), key=lambda item: item[1])


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How one model stands against attacks on one set of images.

    Attributes:
        model: what was judged, in words.
        data: the images, in words.
        fingerprint: of images and labels; equal where they are.
        labels: int (images,).
        clean: bool (images,), classified right as they are.
        attacks: name -> what is left, in the order of the table.
        findings: warnings of the checks.
        environment: versions, backend, precision, seed, batch size.
    """

    model: str
    data: str
    fingerprint: str
    labels: np.ndarray
    clean: Column
    attacks: Mapping[str, Column]
    findings: tuple[Finding, ...]
    environment: Mapping[str, Any]

    @property
    def images(self) -> int:
        """Number of images."""
        return len(self.labels)

    @property
    def clean_accuracy(self) -> float:
        """Share of images classified right as they are, in [0, 1]."""
        return self.clean.accuracy

    @property
    def robust_accuracy(self) -> dict[str, float]:
        """Attack -> share of images right both as they are and under it."""
        return {name: column.accuracy for name, column in self.attacks.items()}

    @property
    def w_robust_accuracy(self) -> dict[str, float]:
        """Attack -> half the clean accuracy and half the robust one."""
        return {
            name: w_robust(self.clean_accuracy, robust)
            for name, robust in self.robust_accuracy.items()
        }

    @cached_property
    def worst_case(self) -> Column:
        """The images that no attack fooled."""
        masks = [self.clean.robust, *(each.robust for each in self.attacks.values())]
        return Column(np.logical_and.reduce(masks), {})

    @property
    def columns(self) -> dict[str, Column]:
        """Clean, each attack, and their worst case where there are several."""
        worst = {WORST_CASE: self.worst_case} if len(self.attacks) > 1 else {}
        return {CLEAN: self.clean, **self.attacks, **worst}

    def to_markdown(self) -> str:
        """Return the table and the warnings in Markdown."""
        from kmtard.evaluation.tables import markdown

        return markdown(self)

    def to_latex(self) -> str:
        """Return a `tabular` for booktabs, the warnings as comments below."""
        from kmtard.evaluation.tables import latex

        return latex(self)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON: the figures, and what they are worked out from.

        Digit `i` of a column's `robust` is 1 where image `i` was left right; word `i`
        of `labels` is its label.
        """
        return {
            "format": FORMAT,
            "model": self.model,
            "data": self.data,
            "fingerprint": self.fingerprint,
            "images": self.images,
            "clean_accuracy": self.clean_accuracy,
            "clean": self._column(self.clean),
            "attacks": {
                name: self._column(each) for name, each in self.attacks.items()
            },
            "worst_case": self._column(self.worst_case),
            "warnings": [finding._asdict() for finding in self.findings],
            "environment": dict(self.environment),
            "labels": " ".join(map(str, self.labels.tolist())),
        }

    def _column(self, column: Column) -> dict[str, Any]:
        worst, accuracy = column.worst_class(self.labels)
        return {
            "accuracy": column.accuracy,
            "w_robust_accuracy": w_robust(self.clean_accuracy, column.accuracy),
            "interval": list(column.interval),
            "correct": column.correct,
            "class_accuracy": column.by_class(self.labels),
            "worst_class": {"label": worst, "accuracy": accuracy},
            "settings": dict(column.settings),
            "cost": column.cost and asdict(column.cost),
            "distance": column.distance and asdict(column.distance),
            "stages": column.stages and dict(column.stages),
            "robust": "".join("01"[bit] for bit in column.robust.tolist()),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Evaluation:
        """Make the evaluation that `to_dict` described.

        Raises:
            ValueError: it is of another format, or a key is missing.
        """
        if content.get("format") != FORMAT:
            raise ValueError(
                f"Expected an evaluation of format {FORMAT}. Received: format "
                f"{content.get('format')!r}. Evaluate the model with this version."
            )
        try:
            return cls(
                model=content["model"],
                data=content["data"],
                fingerprint=content["fingerprint"],
                labels=np.array(content["labels"].split(), np.int64),
                clean=_column(content["clean"]),
                attacks={k: _column(v) for k, v in content["attacks"].items()},
                findings=tuple(Finding(**each) for each in content["warnings"]),
                environment=content["environment"],
            )
        except KeyError as error:
            raise ValueError(
                f"Expected an evaluation with the key {error}, which is missing. "
                "Evaluate the model again."
            ) from error

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Evaluation:
        """Read an `evaluation.json`, given itself or the folder that holds it.

        Raises:
            RunError: there is none, or it is none.
        """
        file = Path(path)
        if file.is_dir():
            file = file / "evaluation.json"
        try:
            return cls.from_dict(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise RunError(
                f"Expected an evaluation in {file}: {error}. "
                "Make it by `python -m kmtard.evaluate`."
            ) from error


def _column(content: Mapping[str, Any]) -> Column:
    cost, distance = content["cost"], content["distance"]
    return Column(
        robust=np.array([digit == "1" for digit in content["robust"]], bool),
        settings=content["settings"],
        cost=cost and Cost(**cost),
        distance=distance and Distance(**distance),
        stages=content["stages"],
    )
