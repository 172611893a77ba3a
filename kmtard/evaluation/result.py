"""The result of an evaluation: one outcome per image, and the figures from these."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from kmtard.evaluation.diagnostics.results import settled
from kmtard.evaluation.statistics import w_robust, wilson_interval
from kmtard.registry.corruptions import CORRUPTIONS
from kmtard.registry.roles import TEACHERS
from kmtard.runs.files import RunError
from kmtard.runs.result_tables import attacks_table
from kmtard.runs.results import (
    CLEAN,
    HEADLINE,
    RECORD,
    SCHEMA,
    WORST_CASE,
    CorruptionResults,
    CorruptionScore,
    Cost,
    Distance,
    Finding,
    NetworkResults,
    Results,
    Score,
    epsilon_of,
    headline_of,
    parse,
    read_content,
    student_of,
)
from kmtard.runs.tables import to_latex, to_markdown

__all__ = [
    "CLEAN",
    "WORST_CASE",
    "Column",
    "Evaluation",
    "Finding",
    "NetworkEvaluation",
]


@dataclass(frozen=True, eq=False)
class Column:
    """The outcome of a network on the clean images or under one attack.

    Attributes:
        robust: bool (images,), whether the image is classified correctly both clean and
            under the attack.
        settings: class and arguments of the attack; empty for clean images.
        cost: cost of the attack; None for the worst case.
        distance: mean distance of fooled images from the clean ones.
        stages: for an attack with several stages, the number of robust images after
            each of them.
        predictions: int (images,), the predicted class under the attack, or the clean
            prediction for an image that was not attacked. None for the worst case and
            for batches of version 0.1, which did not store it.
        spread: "linf" or "l2" -> float (images,), the distance at which an image was
            fooled: 0 if it is misclassified clean, infinity if it is robust. None for
            clean images and the worst case, and in a record that was read.
        confidences: index of an image -> probability of its prediction, in [0, 1], for
            the images that are saved as PNG; empty if none is.
    """

    robust: np.ndarray
    settings: Mapping[str, Any]
    cost: Cost | None = None
    distance: Distance | None = None
    stages: Mapping[str, int] | None = None
    predictions: np.ndarray | None = None
    spread: Mapping[str, np.ndarray] | None = None
    confidences: Mapping[int, float] = field(default_factory=dict)

    @property
    def correct(self) -> int:
        """Number of correct images: clean, or robust under the attack."""
        return int(np.count_nonzero(self.robust))

    @property
    def accuracy(self) -> float:
        """Share of correct images among all images, in [0, 1]."""
        return self.correct / len(self.robust)

    def by_class(self, labels: np.ndarray) -> dict[int, float]:
        """Return label -> accuracy in [0, 1], for each class that has images."""
        return {
            int(label): float(np.mean(self.robust[labels == label]))
            for label in np.unique(labels)
        }

    def worst_class(self, labels: np.ndarray) -> tuple[int, float]:
        """Return the label with the lowest accuracy (the first, if several) and it."""
        return min(self.by_class(labels).items(), key=lambda item: item[1])


@dataclass(frozen=True, eq=False)
class NetworkEvaluation:
    """The outcomes of one network.

    Attributes:
        role: `student`, `nat_teacher`, `adv_teacher`, or `model` outside of runs.
        name: name of the network for the user.
        clean: outcome on the clean images.
        attacks: name of the attack -> outcome, in the order of the table.
        findings: warnings of the diagnostics.
        seconds: duration of its training; None if it was not trained in this run.
        weights: fingerprint of its weights; None if nothing is written.
        corruptions: corruption -> score, in the order of ImageNet-C; empty if not
            measured.
    """

    role: str
    name: str
    clean: Column
    attacks: Mapping[str, Column]
    findings: tuple[Finding, ...] = ()
    seconds: float | None = None
    weights: str | None = None
    corruptions: Mapping[str, CorruptionScore] = field(default_factory=dict)

    @property
    def clean_accuracy(self) -> float:
        """Share of images classified correctly, in [0, 1]."""
        return self.clean.accuracy

    @property
    def corruption_results(self) -> CorruptionResults | None:
        """All corruptions with their mean; None if not measured."""
        return corruption_results(self.corruptions, len(self.clean.robust))

    @property
    def robust_accuracy(self) -> dict[str, float]:
        """Attack -> share of images classified correctly both clean and attacked."""
        return {name: column.accuracy for name, column in self.attacks.items()}

    @property
    def w_robust_accuracy(self) -> dict[str, float]:
        """Attack -> mean of clean and robust accuracy, in [0, 1]."""
        return {
            name: w_robust(self.clean_accuracy, robust)
            for name, robust in self.robust_accuracy.items()
        }

    @cached_property
    def worst_case(self) -> Column:
        """The outcome under all attacks: an image is robust if no attack fools it."""
        masks = [self.clean.robust, *(each.robust for each in self.attacks.values())]
        return Column(np.logical_and.reduce(masks), {})

    @property
    def columns(self) -> dict[str, Column]:
        """The outcomes: clean, each attack, and the worst case if there are several."""
        worst = {WORST_CASE: self.worst_case} if len(self.attacks) > 1 else {}
        return {CLEAN: self.clean, **self.attacks, **worst}

    def with_attacks_of(self, earlier: NetworkEvaluation) -> NetworkEvaluation:
        """Return this evaluation, with what only an earlier one has measured."""
        attacks = {**earlier.attacks, **self.attacks}
        # A new finding replaces an earlier one with the same subject.
        now = {_about(finding, attacks) for finding in self.findings}
        old = (each for each in earlier.findings if _about(each, attacks) not in now)
        accuracies = {name: column.accuracy for name, column in attacks.items()}
        settings = {name: column.settings for name, column in attacks.items()}
        return replace(
            self,
            attacks=attacks,
            findings=tuple(settled((*self.findings, *old), accuracies, settings)),
            seconds=earlier.seconds if self.seconds is None else self.seconds,
            corruptions={**earlier.corruptions, **self.corruptions},
        )

    def to_dict(self, labels: np.ndarray) -> dict[str, Any]:
        """Return plain JSON; see `Evaluation.to_dict`."""
        clean = self.clean_accuracy
        return {
            "role": self.role,
            "name": self.name,
            "weights": self.weights,
            "seconds": self.seconds,
            "clean": _to_dict(self.clean, labels, clean),
            "attacks": {
                name: _to_dict(each, labels, clean)
                for name, each in self.attacks.items()
            },
            "worst_case": _to_dict(self.worst_case, labels, clean),
            "findings": [
                {"name": each.name, "message": each.message} for each in self.findings
            ],
            # Left out if empty, because earlier versions of kmtard wrote no such key.
            **_corruptions_to_dict(self.corruption_results),
        }


def _about(finding: Finding, attacks: Mapping[str, Column]) -> tuple[str, str]:
    """Return a finding's name, and the attack that its message begins with."""
    attack = finding.message.partition(": ")[0]
    return finding.name, attack if attack in attacks else ""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """One record: networks evaluated on the same images under the same conditions.

    `model`, `clean`, `attacks`, `columns` and the accuracies refer to the student, or
    to the only network.

    Attributes:
        data: name of the images for the user.
        labels: int (images,).
        networks: the networks, teachers first, student last.
        conditions: the conditions that all results share: fingerprint of the images,
            seed, epsilon, step size and steps of attacks given by name, backend.
        environment: versions, backend, precision, seed and batch size; and, if known,
            the model's `file`, its `sha256`, and the `commands` that asked for it.
        wanted: the attack for W-Robust accuracy, if it was run.
        pictures: indices of the images that are saved as PNG.
        class_names: names of class 0, 1 and so on; empty if unknown.

    Example:
        >>> found = kmtard.evaluation.evaluate(model, (x, y), attacks=["fgsm"])
        >>> found.images
        8
        >>> sorted(found.columns)
        ['clean', 'fgsm']
    """

    data: str
    labels: np.ndarray
    networks: tuple[NetworkEvaluation, ...]
    conditions: Mapping[str, Any]
    environment: Mapping[str, Any]
    wanted: str = HEADLINE
    pictures: tuple[int, ...] = ()
    class_names: tuple[str, ...] = ()

    @property
    def student(self) -> NetworkEvaluation:
        """The student, or the only network."""
        return student_of(self.networks)

    @property
    def headline(self) -> str | None:
        """The attack for W-Robust accuracy; None if no attack was run.

        It is `wanted` if the student was evaluated under it. Otherwise, it is the
        strongest attack among those that all networks have in common.
        """
        return common_headline(self.student, self.networks, self.wanted)

    @property
    def images(self) -> int:
        """Number of images."""
        return len(self.labels)

    @property
    def fingerprint(self) -> str:
        """Hash of images and labels."""
        return str(self.conditions.get("images", ""))

    @property
    def model(self) -> str:
        """Name of the student."""
        return self.student.name

    @property
    def clean(self) -> Column:
        """The student's outcome on the clean images."""
        return self.student.clean

    @property
    def attacks(self) -> Mapping[str, Column]:
        """Attack -> the student's outcome."""
        return self.student.attacks

    @property
    def clean_accuracy(self) -> float:
        """Share of images that the student classifies correctly, in [0, 1]."""
        return self.student.clean_accuracy

    @property
    def robust_accuracy(self) -> dict[str, float]:
        """Attack -> the student's share of images correct both clean and attacked."""
        return self.student.robust_accuracy

    @property
    def w_robust_accuracy(self) -> dict[str, float]:
        """Attack -> mean of the student's clean and robust accuracy, in [0, 1]."""
        return self.student.w_robust_accuracy

    @property
    def worst_case(self) -> Column:
        """The student's outcome under all attacks together."""
        return self.student.worst_case

    @property
    def columns(self) -> dict[str, Column]:
        """The student's outcomes: clean, each attack, and the worst case."""
        return self.student.columns

    @property
    def corruption_accuracy(self) -> dict[str, float]:
        """Corruption -> the student's mean accuracy over the severities, in [0, 1]."""
        return {name: each.accuracy for name, each in self.student.corruptions.items()}

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The warnings of the student's diagnostics."""
        return self.student.findings

    @cached_property
    def results(self) -> Results:
        """The results as `kmtard.runs.results` reads them from the record."""
        [found] = parse(Path(RECORD), self.to_dict())
        return found

    def to_markdown(self) -> str:
        """Return the table and the warnings in Markdown."""
        return to_markdown(attacks_table(self.results, self.results.student))

    def to_latex(self) -> str:
        """Return a LaTeX `tabular` for booktabs, with the warnings as comments."""
        return to_latex(attacks_table(self.results, self.results.student))

    def added_to(self, earlier: Evaluation) -> Evaluation:
        """Return this evaluation, with results that only an earlier one has.

        Args:
            earlier: an evaluation under the same conditions. Its other networks are
                kept, and its other attacks if the weights of the network are equal.
        """
        known = {each.role: each for each in earlier.networks}
        environment = dict(self.environment)
        for network in self.networks:
            before = known.get(network.role)
            if before and before.weights and before.weights == network.weights:
                network = network.with_attacks_of(before)
                if network.role == self.student.role:
                    environment |= _all_commands(earlier.environment, environment)
            known[network.role] = network
        networks = in_table_order(known.values())
        return replace(self, networks=networks, environment=environment)

    def to_dict(self, folder: str = "") -> dict[str, Any]:
        """Return the record as plain JSON: figures, and the outcome of each image.

        Digit `i` of a column's `robust` is 1 if image `i` is robust. The words of
        `labels` and `predictions` are the classes of the images.

        Args:
            folder: folder of the PNG images, relative to that of the record.
        """
        pictures = {"folder": folder, "indices": list(self.pictures)}
        return {
            "schema": SCHEMA,
            "data": self.data,
            "images": self.images,
            "headline": self.headline,
            "conditions": dict(self.conditions),
            "environment": dict(self.environment),
            "networks": [each.to_dict(self.labels) for each in self.networks],
            "pictures": pictures if self.pictures else None,
            "labels": _words(self.labels),
            # Left out if empty, because earlier versions of kmtard wrote no such key.
            **({"class_names": list(self.class_names)} if self.class_names else {}),
        }

    @classmethod
    def of(cls, results: Results) -> Evaluation:
        """Return the evaluation in the results that were read from a record.

        Raises:
            RunError: the record has no outcomes per image, like those that version 0.1
                wrote at the end of a run.
        """
        if not results.student.clean.robust:
            raise RunError(
                f"{results.path} holds accuracies but no outcomes per image: version "
                "0.1 wrote it at the end of a run. Evaluate the run again with "
                "`kmtard evaluate`."
            )
        return cls(
            data=results.data,
            labels=np.array(results.labels, np.int64),
            networks=tuple(map(_network, results.networks)),
            conditions=results.conditions or {},
            environment=results.environment or {},
            wanted=results.headline or HEADLINE,
            pictures=results.pictures.indices if results.pictures else (),
            class_names=results.class_names,
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Evaluation:
        """Read a record.

        Args:
            path: the file, or the folder that contains evaluation.json.

        Raises:
            RunError: there is no file, it is not a record, a newer version wrote it,
                or it has no outcomes per image.
        """
        file = Path(path)
        if file.is_dir():
            file = file / RECORD
        # In files of version 0.1, the evaluation comes after the training's table.
        return cls.of(parse(file, read_content(file))[-1])


def _all_commands(*environments: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the commands of several environments, each once."""
    found = (each.get("commands") or () for each in environments)
    commands = list(dict.fromkeys(text for each in found for text in each))
    return {"commands": commands} if commands else {}


def in_table_order(
    networks: Iterable[NetworkEvaluation],
) -> tuple[NetworkEvaluation, ...]:
    """Return the networks in the order of tables: teachers first, student last."""

    def place(network: NetworkEvaluation) -> int:
        roles: list[str] = [*TEACHERS, network.role]
        return roles.index(network.role)

    return tuple(sorted(networks, key=place))


def common_headline(
    student: NetworkEvaluation, networks: Iterable[Any], wanted: str
) -> str | None:
    """Return the attack for W-Robust accuracy; None if no attack was run.

    Args:
        student: the network whose accuracies show which attack is the strongest.
        networks: all networks, each with its `attacks`.
        wanted: the attack to use if the student was evaluated under it.
    """
    accuracies = student.robust_accuracy
    if wanted in accuracies:
        return wanted
    shared = set(accuracies).intersection(*(each.attacks for each in networks))
    common = {name: accuracies[name] for name in accuracies if name in shared}
    return headline_of(common or accuracies, wanted)


def corruption_results(
    scores: Mapping[str, CorruptionScore], images: int
) -> CorruptionResults | None:
    """Return scores in the order of ImageNet-C, with their mean; None without scores.

    Args:
        scores: corruption -> score.
        images: number of images at each severity.
    """
    if not scores:
        return None
    ordered = {name: scores[name] for name in CORRUPTIONS if name in scores}
    mean = float(np.mean([each.accuracy for each in ordered.values()]))
    return CorruptionResults(ordered, mean, mean_interval(mean, images))


def corruption_score(
    right: np.ndarray, settings: Mapping[str, Any], baseline: float | None
) -> CorruptionScore:
    """Return the score of a corruption.

    Args:
        right: bool (severities, images), whether the image is classified correctly.
        settings: as in `CorruptionScore`.
        baseline: as in `CorruptionScore`.
    """
    images = right.shape[1]
    counts = [int(np.count_nonzero(row)) for row in right]
    mean = sum(counts) / right.size
    return CorruptionScore(
        accuracy=mean,
        interval=mean_interval(mean, images),
        severities=tuple(
            Score(count / images, wilson_interval(count, images), count)
            for count in counts
        ),
        settings=settings,
        baseline=baseline,
    )


def mean_interval(accuracy: float, images: int) -> tuple[float, float]:
    """Return an interval for a mean of accuracies on corrupted copies of the images.

    The mean over the copies of one image varies at most as much as a single outcome
    with the same mean. So Wilson's interval for one outcome per image is not too
    narrow.

    Args:
        accuracy: the mean, in [0, 1].
        images: number of images, without the copies.
    """
    return wilson_interval(round(accuracy * images), images)


def _corruptions_to_dict(results: CorruptionResults | None) -> dict[str, Any]:
    if results is None:
        return {}
    scores = {
        name: {
            "accuracy": each.accuracy,
            "interval": list(each.interval),
            "severities": [
                {
                    "accuracy": one.accuracy,
                    "interval": list(one.interval or ()),
                    "correct": one.correct,
                }
                for one in each.severities
            ],
            "settings": dict(each.settings),
            "baseline": each.baseline,
        }
        for name, each in results.scores.items()
    }
    content = {
        "accuracy": results.accuracy,
        "interval": list(results.interval),
        "mce": results.mce,
        "scores": scores,
    }
    return {"corruptions": content}


def _to_dict(column: Column, labels: np.ndarray, clean: float) -> dict[str, Any]:
    worst, accuracy = column.worst_class(labels)
    predictions = column.predictions
    confidences = {str(key): value for key, value in column.confidences.items()}
    return {
        "accuracy": column.accuracy,
        "w_robust_accuracy": w_robust(clean, column.accuracy),
        "interval": list(wilson_interval(column.correct, len(column.robust))),
        "correct": column.correct,
        "class_accuracy": column.by_class(labels),
        "worst_class": {"label": worst, "accuracy": accuracy},
        "epsilon": epsilon_of(column.settings),
        "settings": dict(column.settings),
        "cost": column.cost and asdict(column.cost),
        "distance": column.distance and asdict(column.distance),
        "stages": column.stages and dict(column.stages),
        "robust": "".join("01"[bit] for bit in column.robust.tolist()),
        "predictions": None if predictions is None else _words(predictions),
        # Left out if empty, because earlier versions of kmtard wrote no such key.
        **({"confidences": confidences} if confidences else {}),
    }


def _words(values: np.ndarray) -> str:
    return " ".join(map(str, values.tolist()))


def _network(results: NetworkResults) -> NetworkEvaluation:
    return NetworkEvaluation(
        role=results.role,
        name=results.name,
        clean=_column(results.clean),
        attacks={name: _column(score) for name, score in results.attacks.items()},
        findings=results.findings,
        seconds=results.seconds,
        weights=results.weights,
        corruptions=results.corruptions.scores if results.corruptions else {},
    )


def _column(score: Score) -> Column:
    predictions = np.array(score.predictions, np.int64) if score.predictions else None
    return Column(
        robust=np.array([digit == "1" for digit in score.robust], bool),
        settings=score.settings or {},
        cost=score.cost,
        distance=score.distance,
        stages=score.stages,
        predictions=predictions,
        confidences=score.confidences,
    )
