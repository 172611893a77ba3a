"""The content of an evaluation record: networks with their scores and findings.

`kmtard.runs.results` reads it from `evaluation.json`, without NumPy or Keras.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from kmtard.registry.roles import LABELS
from kmtard.runs.folder import safe_name

CLEAN = "clean"
WORST_CASE = "worst case"

HEADLINE = "pgd_trades"
"""The attack that W-Robust accuracy is against if the recipe names no other."""

MODEL = "model"
"""Role of a network that is not part of a run."""


SETTLED = " Settled: "
"""Separates the answer of a later attack from the message of a finding."""


class Finding(NamedTuple):
    """A reason to doubt the numbers of an evaluation.

    Attributes:
        name: name of the diagnostic, such as "zero-gradients".
        message: what was found, what it means for the numbers, and what to do.
    """

    name: str
    message: str

    @property
    def is_settled(self) -> bool:
        """Whether an attack has answered the finding."""
        return SETTLED in self.message


@dataclass(frozen=True)
class Cost:
    """Mean cost of an attack per attacked image, unless stated otherwise.

    Attributes:
        queries: model queries.
        median_queries: median of the queries over the fooled images; None if no image
            was fooled.
        max_queries: largest number of queries for one image.
        forwards: forward passes, including the final prediction.
        backwards: backward passes.
        seconds: wall time for all images together, including compilation.
    """

    queries: float
    median_queries: float | None
    max_queries: int
    forwards: float
    backwards: float
    seconds: float


@dataclass(frozen=True)
class Distance:
    """Mean distance of the fooled images from the clean ones; None if none was fooled.

    Attributes:
        linf: largest change of a pixel, in [0, 1].
        l2: Euclidean length of the change.
        median_linf: upper bound of the median minimal distance: the median over all
            images of the L_inf distance at which the attack fooled them. It is 0 for an
            image that is misclassified clean. None if the attack fooled fewer than half
            of the images, or if the record does not tell.
        median_l2: the same in L2.
    """

    linf: float | None
    l2: float | None
    median_linf: float | None = None
    median_l2: float | None = None


@dataclass(frozen=True)
class Score:
    """The accuracy of one network on the clean images or under one attack.

    A value that version 0.1 did not write is None.

    Attributes:
        accuracy: share of all images, in [0, 1]. Under an attack an image counts if it
            is classified correctly both clean and attacked.
        interval: 95 % Wilson interval of the accuracy.
        correct: number of images that count.
        w_robust: mean of the clean accuracy and this accuracy; None for clean images.
        epsilon: radius of the attack's ball; None for clean images and the worst case.
        worst_class: label and accuracy of the class with the lowest accuracy.
        settings: settings of the attack.
        cost: cost of the attack; None for the worst case.
        distance: how far the fooled images are from the clean ones.
        stages: stage -> number of images still robust after it, for an attack in
            several stages.
        robust: one character per image: "1" if it counts, "0" if not; empty if unknown.
        predictions: for each image the class predicted under the attack. An image that
            was not attacked has its clean prediction. Empty if unknown.
        confidences: index of an image -> probability of its prediction, in [0, 1], for
            the images that are saved as PNG. Empty if unknown.
    """

    accuracy: float
    interval: tuple[float, float] | None = None
    correct: int | None = None
    w_robust: float | None = None
    epsilon: float | None = None
    worst_class: tuple[int, float] | None = None
    settings: Mapping[str, Any] | None = None
    cost: Cost | None = None
    distance: Distance | None = None
    stages: Mapping[str, int] | None = None
    robust: str = ""
    predictions: tuple[int, ...] = ()
    confidences: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class CorruptionScore:
    """The accuracy of one network on the images of one corruption.

    Attributes:
        accuracy: mean of the accuracies at the severities, in [0, 1].
        interval: 95 % Wilson interval of the accuracy, for as many trials as images. It
            is wide rather than narrow, because the severities share the images.
        severities: the scores at severity 1, 2 and so on.
        settings: the `source` of the images, `generated` or `published`, with the
            constants or the hash of the file.
        baseline: mean error of the model that mCE refers to, in (0, 1]; None if none
            was given.
    """

    accuracy: float
    interval: tuple[float, float]
    severities: tuple[Score, ...]
    settings: Mapping[str, Any]
    baseline: float | None = None

    @property
    def error(self) -> float | None:
        """The corruption error: mean error / baseline; None without a baseline."""
        return None if self.baseline is None else (1 - self.accuracy) / self.baseline


@dataclass(frozen=True)
class CorruptionResults:
    """The accuracies of one network under common corruptions.

    Attributes:
        scores: corruption -> score, in the order of ImageNet-C.
        accuracy: mean of their accuracies, in [0, 1].
        interval: its 95 % interval; see `CorruptionScore`.
    """

    scores: Mapping[str, CorruptionScore]
    accuracy: float
    interval: tuple[float, float]

    @property
    def mce(self) -> float | None:
        """Mean corruption error (mCE); None unless each corruption has a baseline."""
        errors = [each.error for each in self.scores.values()]
        known = [each for each in errors if each is not None]
        return sum(known) / len(known) if len(known) == len(errors) else None


@dataclass(frozen=True)
class NetworkResults:
    """The results of one network.

    Attributes:
        role: `student`, `nat_teacher`, `adv_teacher`, or `model`.
        name: readable name of the network.
        clean: score on the clean images.
        attacks: name -> score, in the order of the table.
        headline: the attack that `w_robust` is against; None if no attack was run.
        worst_case: score under all attacks together: an image counts if no attack
            fooled it. None if it was not recorded.
        findings: warnings of the diagnostics.
        seconds: time spent on training; None if it was not trained in this run.
        weights: fingerprint of the weights; None if unknown.
        corruptions: accuracies under common corruptions; None if not measured.
    """

    role: str
    name: str
    clean: Score
    attacks: Mapping[str, Score]
    headline: str | None
    worst_case: Score | None = None
    findings: tuple[Finding, ...] = ()
    seconds: float | None = None
    weights: str | None = None
    corruptions: CorruptionResults | None = None

    @property
    def label(self) -> str:
        """The name of the role in tables."""
        return LABELS.get(self.role, self.role)

    @property
    def w_robust(self) -> float | None:
        """W-Robust accuracy against `headline`, in [0, 1]; None if it was not run."""
        score = self.attacks.get(self.headline or "")
        return score.w_robust if score else None

    @property
    def robust(self) -> Score | None:
        """The score under `headline`; None if it was not run."""
        return self.attacks.get(self.headline or "")

    @property
    def columns(self) -> dict[str, Score]:
        """Scores by column: clean, each attack, and the worst case of several."""
        columns = {CLEAN: self.clean, **self.attacks}
        if self.worst_case and len(self.attacks) > 1:
            columns[WORST_CASE] = self.worst_case
        return columns


@dataclass(frozen=True)
class Pictures:
    """Clean and adversarial images of the student, saved as PNG at full resolution.

    Attributes:
        folder: folder with one subfolder per column: `clean`, and each attack.
        indices: positions of the images among the evaluated images, ascending.
    """

    folder: Path
    indices: tuple[int, ...]

    def path(self, column: str, index: int) -> Path | None:
        """Return the file of an image; None if that column does not have it.

        Images that the student misclassifies without an attack are not attacked. So an
        attack can have fewer images than `indices`.
        """
        path = self.folder / safe_name(column) / f"{index:06d}.png"
        return path if path.is_file() else None


@dataclass(frozen=True)
class Results:
    """One record: networks evaluated on the same images under the same conditions.

    Attributes:
        path: the file.
        networks: teachers first, student last. A model file has one network.
        headline: the attack that W-Robust accuracy is against; None if none was run.
        images: number of images; None if unknown.
        data: name of the data; empty if unknown.
        conditions: settings that must be equal for all results in one record: the
            fingerprint of the images, seed, epsilon, step size, steps and backend;
            None if unknown.
        environment: versions, backend, precision and batch size; the model's `file`,
            its `sha256` and the `commands` of the evaluation, if known; None if
            unknown.
        labels: labels of the images; empty if unknown.
        pictures: the images saved as PNG; None if no images were saved.
        class_names: names of class 0, 1 and so on; empty if unknown.
    """

    path: Path
    networks: tuple[NetworkResults, ...]
    headline: str | None
    images: int | None = None
    data: str = ""
    conditions: Mapping[str, Any] | None = None
    environment: Mapping[str, Any] | None = None
    labels: tuple[int, ...] = ()
    pictures: Pictures | None = None
    class_names: tuple[str, ...] = ()

    @property
    def student(self) -> NetworkResults:
        """The student, or the only network of a model file."""
        return student_of(self.networks)

    @property
    def attacks(self) -> list[str]:
        """Names of all attacks, each once, in the order of the table."""
        return list(
            dict.fromkeys(name for each in self.networks for name in each.attacks)
        )

    def class_name(self, label: int) -> str:
        """Return the name of a class, or its label as text if the name is unknown."""
        names = self.class_names
        return names[label] if 0 <= label < len(names) else str(label)

    def by_class(self, score: Score) -> dict[int, float]:
        """Return label -> accuracy in [0, 1]; empty without an outcome per image.

        Args:
            score: a score of one of the networks.
        """
        if len(score.robust) != len(self.labels):
            return {}
        total = Counter(self.labels)
        pairs = zip(self.labels, score.robust, strict=True)
        right = Counter(label for label, digit in pairs if digit == "1")
        return {label: right[label] / total[label] for label in sorted(total)}

    def confusion(self, score: Score) -> Counter[tuple[int, int]]:
        """Return (label, prediction) -> number of images; empty without predictions.

        Args:
            score: a score of one of the networks.
        """
        if len(score.predictions) != len(self.labels):
            return Counter()
        return Counter(zip(self.labels, score.predictions, strict=True))

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The warnings of all networks, each once."""
        found = (finding for each in self.networks for finding in each.findings)
        return tuple(dict.fromkeys(found))


class _HasRole(Protocol):
    @property
    def role(self) -> str: ...


Network = TypeVar("Network", bound=_HasRole)


def student_of(networks: Sequence[Network]) -> Network:
    """Return the student, or the last network if there is no student."""
    return next((each for each in networks if each.role == "student"), networks[-1])


def headline_of(accuracies: Mapping[str, float], wanted: str = HEADLINE) -> str | None:
    """Return the attack that W-Robust accuracy is against.

    Args:
        accuracies: attack -> robust accuracy of the student.
        wanted: the attack to use if it was run.

    Returns:
        `wanted` if it was run, else the attack with the lowest accuracy; None if no
        attack was run.

    Example:
        >>> headline_of({"fgsm": 0.5, "square": 0.4})
        'square'
    """
    if wanted in accuracies or not accuracies:
        return wanted if accuracies else None
    return min(accuracies, key=lambda name: accuracies[name])


def epsilon_of(settings: Mapping[str, Any]) -> Any:
    """Return the epsilon in the settings of an attack, or of the attack inside it."""
    inner = settings.get("attack")
    if settings.get("epsilon") is None and isinstance(inner, Mapping):
        return epsilon_of(inner.get("config", inner))
    return settings.get("epsilon")
