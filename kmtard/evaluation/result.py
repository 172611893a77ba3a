"""What an evaluation found: answers per image, from which every figure follows."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from kmtard.evaluation.diagnostics.results import settled
from kmtard.evaluation.statistics import w_robust, wilson_interval
from kmtard.registry.roles import TEACHERS
from kmtard.runs.files import RunError
from kmtard.runs.result_tables import attacks_table
from kmtard.runs.results import (
    CLEAN,
    HEADLINE,
    RECORD,
    SCHEMA,
    WORST_CASE,
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
    """The answers of a network on the clean images or under one attack.

    Attributes:
        robust: bool (images,), classified correctly both clean and under attack.
        settings: what the attack was made of; empty for clean.
        cost: of the attack; None where nothing was attacked, as in the worst case.
        distance: how far the fooled images are from the clean ones.
        stages: robust images after each stage of an attack that has several.
        predictions: int (images,), the class predicted under the attack, and the clean
            prediction where an image was not attacked; None for the worst case, and
            where batches of version 0.1 did not keep it.
    """

    robust: np.ndarray
    settings: Mapping[str, Any]
    cost: Cost | None = None
    distance: Distance | None = None
    stages: Mapping[str, int] | None = None
    predictions: np.ndarray | None = None

    @property
    def correct(self) -> int:
        """Number of images that count."""
        return int(np.count_nonzero(self.robust))

    @property
    def accuracy(self) -> float:
        """Share of all images that count, in [0, 1]."""
        return self.correct / len(self.robust)

    def by_class(self, labels: np.ndarray) -> dict[int, float]:
        """Return the accuracy on each class that has images."""
        return {
            int(label): float(np.mean(self.robust[labels == label]))
            for label in np.unique(labels)
        }

    def worst_class(self, labels: np.ndarray) -> tuple[int, float]:
        """Return the first class with the lowest accuracy, and this accuracy."""
        return min(self.by_class(labels).items(), key=lambda item: item[1])


@dataclass(frozen=True, eq=False)
class NetworkEvaluation:
    """The answers of one network.

    Attributes:
        role: `student`, `nat_teacher`, `adv_teacher`, or `model` outside of runs.
        name: of the network, in words.
        clean: on the clean images.
        attacks: name -> answers, in the order of the table.
        findings: warnings of the diagnostics.
        seconds: of its training; None where it was not trained in this run.
        weights: fingerprint of its weights; None where nothing is written.
    """

    role: str
    name: str
    clean: Column
    attacks: Mapping[str, Column]
    findings: tuple[Finding, ...] = ()
    seconds: float | None = None
    weights: str | None = None

    @property
    def clean_accuracy(self) -> float:
        """Share of images classified correctly, in [0, 1]."""
        return self.clean.accuracy

    @property
    def robust_accuracy(self) -> dict[str, float]:
        """Attack -> share of images correct both clean and under it."""
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

    def with_attacks_of(self, earlier: NetworkEvaluation) -> NetworkEvaluation:
        """Return this with the attacks that only an earlier evaluation ran."""
        attacks = {**earlier.attacks, **self.attacks}
        # What the diagnostics found again is told as it is now.
        now = {_about(finding, attacks) for finding in self.findings}
        old = (each for each in earlier.findings if _about(each, attacks) not in now)
        accuracies = {name: column.accuracy for name, column in attacks.items()}
        settings = {name: column.settings for name, column in attacks.items()}
        return replace(
            self,
            attacks=attacks,
            findings=tuple(settled((*self.findings, *old), accuracies, settings)),
            seconds=earlier.seconds if self.seconds is None else self.seconds,
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
        }


def _about(finding: Finding, attacks: Mapping[str, Column]) -> tuple[str, str]:
    """Return a finding's name, and the attack that its message begins with."""
    attack = finding.message.partition(": ")[0]
    return finding.name, attack if attack in attacks else ""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """One record: networks on the same images under the same conditions.

    What `model`, `clean`, `attacks`, `columns` and the accuracies say is about the
    student, or about the only network.

    Attributes:
        data: the images, in words.
        labels: int (images,).
        networks: teachers first, student last.
        conditions: what all results here share: fingerprint of the images, seed,
            epsilon, step size and steps of attacks given by name, backend.
        environment: versions, backend, precision, batch size.
        wanted: the attack that W-Robust accuracy is against, if it was run.
        pictures: numbers of the images that are kept as PNG.
        class_names: what people call class 0, 1 and so on; empty where nobody says.
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
        """The attack that W-Robust accuracy is against; None if none was run.

        It is the wanted one if the student was attacked by it, or else the strongest
        of those that every network was attacked by.
        """
        return common_headline(self.student, self.networks, self.wanted)

    @property
    def images(self) -> int:
        """Number of images."""
        return len(self.labels)

    @property
    def fingerprint(self) -> str:
        """Stands for images and labels; equal where they are."""
        return str(self.conditions.get("images", ""))

    @property
    def model(self) -> str:
        """What was evaluated, in words."""
        return self.student.name

    @property
    def clean(self) -> Column:
        """The student's answers on the clean images."""
        return self.student.clean

    @property
    def attacks(self) -> Mapping[str, Column]:
        """Attack -> the student's answers."""
        return self.student.attacks

    @property
    def clean_accuracy(self) -> float:
        """Share of images that the student classifies correctly, in [0, 1]."""
        return self.student.clean_accuracy

    @property
    def robust_accuracy(self) -> dict[str, float]:
        """Attack -> the student's share of images correct both clean and under it."""
        return self.student.robust_accuracy

    @property
    def w_robust_accuracy(self) -> dict[str, float]:
        """Attack -> half the clean accuracy and half the robust one."""
        return self.student.w_robust_accuracy

    @property
    def worst_case(self) -> Column:
        """The images on which no attack fooled the student."""
        return self.student.worst_case

    @property
    def columns(self) -> dict[str, Column]:
        """The student's answers: clean, each attack, and their worst case."""
        return self.student.columns

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The warnings of the student's diagnostics."""
        return self.student.findings

    @cached_property
    def results(self) -> Results:
        """The figures, as readers of the record see them."""
        [found] = parse(Path(RECORD), self.to_dict())
        return found

    def to_markdown(self) -> str:
        """Return the table and the warnings in Markdown."""
        return to_markdown(attacks_table(self.results, self.results.student))

    def to_latex(self) -> str:
        """Return a `tabular` for booktabs, the warnings as comments above."""
        return to_latex(attacks_table(self.results, self.results.student))

    def added_to(self, earlier: Evaluation) -> Evaluation:
        """Return this with what only an earlier evaluation found.

        Args:
            earlier: under the same conditions. Its networks stay if they are not in
                this one, its attacks if a network's weights are the same.
        """
        known = {each.role: each for each in earlier.networks}
        for network in self.networks:
            before = known.get(network.role)
            if before and before.weights and before.weights == network.weights:
                network = network.with_attacks_of(before)
            known[network.role] = network
        return replace(self, networks=in_table_order(known.values()))

    def to_dict(self, folder: str = "") -> dict[str, Any]:
        """Return plain JSON: the figures, and what they are worked out from.

        Digit `i` of a column's `robust` is 1 where image `i` counts; word `i` of
        `labels` and of `predictions` is its class.

        Args:
            folder: of the pictures, relative to the record's own.
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
            # Only where there are some: earlier versions of kmtard wrote none.
            **({"class_names": list(self.class_names)} if self.class_names else {}),
        }

    @classmethod
    def of(cls, results: Results) -> Evaluation:
        """Return the answers per image that a record holds.

        Raises:
            RunError: it holds none, as what version 0.1 wrote at the end of a run.
        """
        if not results.student.clean.robust:
            raise RunError(
                f"{results.path} holds accuracies and no answers per image: version "
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
        """Read a record, given as a file or as the folder that holds evaluation.json.

        Raises:
            RunError: there is no file, it is not a record, a newer version wrote it,
                or it holds no answers per image.
        """
        file = Path(path)
        if file.is_dir():
            file = file / RECORD
        # An evaluation by version 0.1 stands after the table of the training.
        return cls.of(parse(file, read_content(file))[-1])


def in_table_order(
    networks: Iterable[NetworkEvaluation],
) -> tuple[NetworkEvaluation, ...]:
    """Return the networks as tables show them: teachers first, student last."""

    def place(network: NetworkEvaluation) -> int:
        roles: list[str] = [*TEACHERS, network.role]
        return roles.index(network.role)

    return tuple(sorted(networks, key=place))


def common_headline(
    student: NetworkEvaluation, networks: Iterable[Any], wanted: str
) -> str | None:
    """Return the attack that W-Robust accuracy is against.

    Args:
        student: whose accuracies tell which attack is the strongest.
        networks: all networks, each with its `attacks`.
        wanted: the attack to take if the student was attacked by it.
    """
    accuracies = student.robust_accuracy
    if wanted in accuracies:
        return wanted
    shared = set(accuracies).intersection(*(each.attacks for each in networks))
    common = {name: accuracies[name] for name in accuracies if name in shared}
    return headline_of(common or accuracies, wanted)


def _to_dict(column: Column, labels: np.ndarray, clean: float) -> dict[str, Any]:
    worst, accuracy = column.worst_class(labels)
    predictions = column.predictions
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
    )
