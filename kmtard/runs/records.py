"""What a record of an evaluation says: networks, their scores and their findings.

`kmtard.runs.results` reads them from `evaluation.json`, without NumPy and Keras.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from kmtard.registry.roles import LABELS
from kmtard.runs.folder import safe_name

CLEAN = "clean"
WORST_CASE = "worst case"

HEADLINE = "pgd_trades"
"""The attack that W-Robust accuracy is against, unless the recipe names another."""

MODEL = "model"
"""Role of a network that belongs to no run."""


class Finding(NamedTuple):
    """A reason to doubt the numbers of an evaluation.

    Attributes:
        name: of the diagnostic, such as "zero-gradients".
        message: what was found, what it means for the numbers, and what to do.
    """

    name: str
    message: str


@dataclass(frozen=True)
class Cost:
    """Mean cost of an attack per attacked image, unless stated otherwise.

    Attributes:
        queries: images that the model was asked about.
        median_queries: median over the fooled images; None without any.
        max_queries: the most for one image.
        forwards: forward passes, including the final prediction.
        backwards: backward passes.
        seconds: wall time of all images together, including compilation.
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


@dataclass(frozen=True)
class Score:
    """The accuracy of one network on the clean images or under one attack.

    What version 0.1 did not write is None.

    Attributes:
        accuracy: share of all images, in [0, 1]. Under an attack an image counts if it
            is classified correctly both clean and attacked.
        interval: 95 % Wilson interval of the accuracy.
        correct: number of those images.
        w_robust: half the clean accuracy and half this one; None for clean.
        epsilon: radius of the attack's ball; None for clean and the worst case.
        worst_class: label and accuracy of the class with the lowest accuracy.
        settings: what the attack was made of.
        cost: of the attack; None for the worst case.
        distance: how far the fooled images are from the clean ones.
        stages: robust images after each stage of an attack that has several.
        robust: for each image "1" if it counts and "0" if not; empty if unknown.
        predictions: for each image the class predicted under the attack (the clean
            prediction where the image was not attacked); empty if unknown.
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


@dataclass(frozen=True)
class NetworkResults:
    """What an evaluation found out about one network.

    Attributes:
        role: `student`, `nat_teacher`, `adv_teacher`, or `model`.
        name: of the network, in words.
        clean: on the clean images.
        attacks: name -> score, in the order of the table.
        headline: the attack that `w_robust` is against; None if none was run.
        worst_case: images that no attack fooled; None where that was not written.
        findings: warnings of the diagnostics.
        seconds: of training; None where it was not trained in this run.
        weights: fingerprint of the weights; None if unknown.
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

    @property
    def label(self) -> str:
        """The role, as tables show it."""
        return LABELS.get(self.role, self.role)

    @property
    def w_robust(self) -> float | None:
        """W-Robust accuracy under `headline`, in [0, 1]; None if it was not run."""
        score = self.attacks.get(self.headline or "")
        return score.w_robust if score else None

    @property
    def robust(self) -> Score | None:
        """The score under `headline`; None if it was not run."""
        return self.attacks.get(self.headline or "")

    @property
    def columns(self) -> dict[str, Score]:
        """Clean, each attack, and their worst case where there are several."""
        columns = {CLEAN: self.clean, **self.attacks}
        if self.worst_case and len(self.attacks) > 1:
            columns[WORST_CASE] = self.worst_case
        return columns


@dataclass(frozen=True)
class Pictures:
    """Clean and adversarial images of the student, kept as PNG in native pixels.

    Attributes:
        folder: holds one folder per column: `clean`, and each attack.
        indices: numbers of the images among those evaluated, ascending.
    """

    folder: Path
    indices: tuple[int, ...]

    def path(self, column: str, index: int) -> Path | None:
        """Return the file of an image; None if that column does not hold it.

        Images that the student gets wrong clean are not attacked, so the folder of an
        attack holds fewer than `indices`.
        """
        path = self.folder / safe_name(column) / f"{index:06d}.png"
        return path if path.is_file() else None


@dataclass(frozen=True)
class Results:
    """One record: networks evaluated on the same images under the same conditions.

    Attributes:
        path: of the file.
        networks: teachers first, student last; a model file has one.
        headline: the attack that W-Robust accuracy is against; None if none was run.
        images: how many; None if unknown.
        data: the images, in words; empty if unknown.
        conditions: what results must share to stand in one record: the images'
            fingerprint, seed, epsilon, step size, steps, backend; empty if unknown.
        environment: versions, backend, precision, batch size; empty if unknown.
        labels: of the images; empty if unknown.
        pictures: folder and indices of the images kept as PNG; None without any.
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
    """Return the student, or the last of the networks where none is a student."""
    return next((each for each in networks if each.role == "student"), networks[-1])


def headline_of(accuracies: Mapping[str, float], wanted: str = HEADLINE) -> str | None:
    """Return the attack that W-Robust accuracy is against.

    Args:
        accuracies: attack -> robust accuracy of the student.
        wanted: the attack to take if it was run.

    Returns:
        `wanted`, or else the strongest attack that was run; None without any.

    Example:
        >>> headline_of({"fgsm": 0.5, "square": 0.4})
        'square'
    """
    if wanted in accuracies or not accuracies:
        return wanted if accuracies else None
    return min(accuracies, key=lambda name: accuracies[name])


def epsilon_of(settings: Mapping[str, Any]) -> Any:
    """Return the epsilon in an attack's settings, or in those of the attack inside."""
    inner = settings.get("attack")
    if settings.get("epsilon") is None and isinstance(inner, Mapping):
        return epsilon_of(inner.get("config", inner))
    return settings.get("epsilon")
