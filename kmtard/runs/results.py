"""Read the results in `evaluation.json`, without loading NumPy or Keras.

`kmtard.evaluation` writes the record. The command line, reports and the launcher read
it here. Files of version 0.1 are read too: those written by a training, those written
by `kmtard evaluate`, and those that hold both.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from kmtard.registry import canonical
from kmtard.registry.roles import LABELS
from kmtard.runs.documents import table
from kmtard.runs.files import RunError, read_regular
from kmtard.runs.folder import safe_name

SCHEMA = 2
"""Version of the record. Version 0.1 of kmtard wrote 1, under the key `format`."""

CLEAN = "clean"
WORST_CASE = "worst case"

HEADLINE = "pgd_trades"
"""The attack that W-Robust accuracy is against if the recipe names no other."""

RECORD = "evaluation.json"
MODEL = "model"
"""Role of a network that does not belong to a run."""

Found = TypeVar("Found")


class NewerSchemaError(RunError):
    """The record was written by a newer version of kmtard."""


class Finding(NamedTuple):
    """A reason to doubt the numbers of an evaluation.

    Attributes:
        name: name of the diagnostic, such as "zero-gradients".
        message: what was found, what it means for the numbers, and what to do.
    """

    name: str
    message: str


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
    """

    linf: float | None
    l2: float | None


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
    """The results of one network.

    Attributes:
        role: `student`, `nat_teacher`, `adv_teacher`, or `model`.
        name: name of the network for people.
        clean: score on the clean images.
        attacks: name -> score, in the order of the table.
        headline: the attack that `w_robust` is against; None if no attack was run.
        worst_case: score under all attacks together: an image counts if no attack
            fooled it. None if it was not recorded.
        findings: warnings of the diagnostics.
        seconds: time spent on training; None if it was not trained in this run.
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
        """The role as tables show it."""
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
        environment: versions, backend, precision and batch size; None if unknown.
        labels: labels of the images; empty if unknown.
        pictures: the images saved as PNG; None if there are none.
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


def read_results(path: str | os.PathLike[str]) -> Results:
    """Read a record, given as a file or as the folder that holds `evaluation.json`.

    A file of version 0.1 can hold both a training's table and a later evaluation. This
    function returns the table, and `read_all` returns both.

    Raises:
        RunError: the file does not exist, is not a record, or was written by a newer
            version.
    """
    return _read(_file(path))[0]


def read_figures(path: str | os.PathLike[str]) -> Results:
    """Read a record without its labels and predictions.

    Parsing those takes most of the time, and a list of many runs does not need them.

    Raises:
        RunError: as `read_results`.
    """
    file = _file(path)
    content = read_content(file)
    networks = content.get("networks")
    for network in networks if isinstance(networks, list) else ():
        for column in (table(network, "clean"), *table(network, "attacks").values()):
            table(column).pop("predictions", None)
    return parse(file, {**content, "labels": ""})[0]


def read_all(folder: str | os.PathLike[str]) -> tuple[list[Results], list[str]]:
    """Read every record of a run or of an evaluated model.

    Args:
        folder: folder of the run, or `MODEL.evaluation` for a model file.

    Returns:
        The records, the one in `evaluation.json` first, and one message for each file
        that cannot be read.
    """
    found: list[Results] = []
    problems = []
    for path in record_paths(folder):
        try:
            found += _read(path)
        except RunError as error:
            problems.append(str(error))
    return found, problems


def record_paths(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the files of all records in a folder, `evaluation.json` first.

    Evaluations under other conditions than the first are in `evaluation/NAME.json`.
    """
    own = Path(folder) / RECORD
    others = sorted(own.with_suffix("").glob("*.json"))
    return [path for path in (own, *others) if path.is_file()]


def _file(path: str | os.PathLike[str]) -> Path:
    file = Path(path)
    return file / RECORD if file.is_dir() else file


def read_content(path: Path) -> dict[str, Any]:
    """Return the JSON of a record, of this version or an older one.

    Raises:
        RunError: the file does not exist or is not a JSON object.
        NewerSchemaError: a newer version of kmtard wrote the file.
    """
    try:
        content = json.loads(read_regular(path))
    except FileNotFoundError as error:
        raise RunError(
            f"Expected an evaluation in {path}, which does not exist. "
            "Create it with `kmtard evaluate`."
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"Expected an evaluation in {path}: {error}.") from error
    if not isinstance(content, dict):
        raise RunError(
            f"Expected an evaluation in {path}, as a JSON object. "
            f"Received: {type(content).__name__}."
        )
    schema = content.get("schema", content.get("format", SCHEMA))
    if not isinstance(schema, int) or schema > SCHEMA:
        raise NewerSchemaError(
            f"{path} has schema {schema!r}, but this version of kmtard reads schemas "
            f"up to {SCHEMA}. Install a newer version of kmtard to read it."
        )
    return content


def _read(path: Path) -> list[Results]:
    return parse(path, read_content(path))


def parse(path: Path, content: Mapping[str, Any]) -> list[Results]:
    """Return the results in the content of a record.

    Args:
        path: the file, for messages and to find its pictures.
        content: the content as `read_content` returns it.

    Returns:
        One record, or two for a file of version 0.1 that holds both a training's table
        and an evaluation.

    Raises:
        RunError: a part is missing or wrong.
    """
    try:
        if "schema" in content:
            return [_current(path, content)]
        found = [_of_training(path, content)] if "rows" in content else []
        if "format" in content:
            found.append(_of_evaluation(path, content))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise RunError(
            f"Expected an evaluation in {path}, but a part of it is missing or wrong: "
            f"{type(error).__name__}: {error}. Evaluate the model again."
        ) from error
    if not found:
        raise RunError(
            f"Expected an evaluation in {path}. Received: an object with the keys "
            f"{', '.join(map(repr, content)) or 'none'}. Create it with "
            "`kmtard evaluate`."
        )
    return found


def _current(path: Path, content: Mapping[str, Any]) -> Results:
    headline = _optional(str, content["headline"])
    networks = tuple(_network(each, headline) for each in content["networks"])
    if not networks:
        raise ValueError("`networks` is empty")
    pictures = content["pictures"]
    return Results(
        path=path,
        networks=networks,
        headline=headline,
        images=int(content["images"]),
        data=str(content["data"]),
        conditions=dict(content["conditions"]),
        environment=dict(content["environment"]),
        labels=_integers(content["labels"]),
        pictures=pictures and _pictures(path, pictures),
    )


def _network(content: Mapping[str, Any], headline: str | None) -> NetworkResults:
    return NetworkResults(
        role=str(content["role"]),
        name=str(content["name"]),
        clean=replace(_score(content["clean"]), w_robust=None),
        attacks={str(k): _score(v) for k, v in content["attacks"].items()},
        headline=headline,
        worst_case=_score(content["worst_case"]),
        findings=_findings(content["findings"]),
        seconds=_optional(_number, content["seconds"]),
        weights=_optional(str, content["weights"]),
    )


def _of_training(path: Path, content: Mapping[str, Any]) -> Results:
    """Read the table that a training of version 0.1 wrote."""
    # A later evaluation wrote its own `images` and `attacks` into the same file.
    mixed = "format" in content
    settings = {} if mixed else content.get("attacks", {})
    rows = {str(row["role"]): row for row in content["rows"]}
    if not rows:
        raise ValueError("`rows` is empty")
    robust = rows.get("student", [*rows.values()][-1])["robust_accuracy"]
    shares = {canonical("attacks", str(k)): _share(v) for k, v in robust.items()}
    headline = headline_of(shares)
    networks = [_of_row(row, settings, headline) for row in rows.values()]
    return Results(
        path=path,
        networks=tuple(networks),
        headline=headline,
        images=None if mixed else int(content["images"]),
    )


def _of_row(
    row: Mapping[str, Any], settings: Mapping[str, Any], headline: str | None
) -> NetworkResults:
    attacks = {
        canonical("attacks", str(name)): Score(
            _share(accuracy),
            w_robust=_share(row["w_robust_accuracy"][name]),
            epsilon=_optional(_number, settings.get(name, {}).get("epsilon")),
            settings=settings.get(name),
        )
        for name, accuracy in row["robust_accuracy"].items()
    }
    role = str(row["role"])
    return NetworkResults(
        role=role,
        name=LABELS.get(role, role),
        clean=Score(_share(row["clean_accuracy"])),
        attacks=attacks,
        headline=headline,
        seconds=_optional(_number, row.get("seconds")),
    )


def _of_evaluation(path: Path, content: Mapping[str, Any]) -> Results:
    """Read the evaluation of one network that version 0.1 wrote."""
    found = content["attacks"].items()
    attacks = {canonical("attacks", str(k)): _score(v) for k, v in found}
    headline = headline_of({name: score.accuracy for name, score in attacks.items()})
    name = str(content["model"])
    # In a run's folder, version 0.1 always evaluated the student.
    folders = path.resolve().parents[:2]
    of_run = any((folder / "recipe.toml").is_file() for folder in folders)
    network = NetworkResults(
        role="student" if of_run else MODEL,
        name=name,
        clean=replace(_score(content["clean"]), w_robust=None),
        attacks=attacks,
        headline=headline,
        worst_case=_score(content["worst_case"]),
        findings=_findings(content["warnings"]),
    )
    environment = dict(content["environment"])
    known = {key: environment[key] for key in ("seed", "backend") if key in environment}
    return Results(
        path=path,
        networks=(network,),
        headline=headline,
        images=int(content["images"]),
        data=str(content["data"]),
        conditions={"images": str(content["fingerprint"]), **known},
        environment=environment,
        labels=_integers(content["labels"]),
    )


def _score(content: Mapping[str, Any]) -> Score:
    low, high = content["interval"]
    worst, settings = content["worst_class"], dict(content["settings"])
    return Score(
        accuracy=_share(content["accuracy"]),
        interval=(_share(low), _share(high)),
        correct=int(content["correct"]),
        w_robust=_share(content["w_robust_accuracy"]),
        epsilon=_optional(_number, epsilon_of(settings)),
        worst_class=(int(worst["label"]), _share(worst["accuracy"])),
        settings=settings,
        cost=_optional(lambda cost: Cost(**cost), content["cost"]),
        distance=_optional(lambda each: Distance(**each), content["distance"]),
        stages=_optional(dict, content["stages"]),
        robust=str(content["robust"]),
        predictions=_integers(content.get("predictions") or ""),
    )


def _pictures(path: Path, content: Mapping[str, Any]) -> Pictures:
    folder = path.parent / str(content["folder"])
    return Pictures(folder, tuple(map(int, content["indices"])))


def _findings(content: Iterable[Mapping[str, Any]]) -> tuple[Finding, ...]:
    return tuple(Finding(str(each["name"]), str(each["message"])) for each in content)


def _integers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split()))


def _share(value: Any) -> float:
    share = _number(value)
    if not 0 <= share <= 1:
        raise ValueError(f"expected a number in [0, 1], received {value!r}")
    return share


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"expected a number, received {value!r}")
    if not math.isfinite(value):
        raise ValueError(f"expected a finite number, received {value!r}")
    return float(value)


def _optional(read: Callable[[Any], Found], value: Any) -> Found | None:
    return None if value is None else read(value)
