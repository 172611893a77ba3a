"""What a run found: the light reader of `evaluation.json`, without NumPy and Keras.

`kmtard.evaluation` writes the record; command line, reports and launcher read it here.
Files of version 0.1 are read too: those of a training, those of `kmtard evaluate`, and
those that hold both.
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
"""Version of the record; 1 is what version 0.1 called `format`."""

CLEAN = "clean"
WORST_CASE = "worst case"

HEADLINE = "pgd_trades"
"""The attack that W-Robust accuracy is against, unless the recipe names another."""

RECORD = "evaluation.json"
MODEL = "model"
"""Role of a network that belongs to no run."""

# What a part of another type, or nested too deep, raises where it is read.
WRONG = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)

MANY = 10**15
"""A larger number counts nothing."""

LONGEST_VALUE = 100
"""Characters of a wrong value that an error shows."""

Found = TypeVar("Found")


class NewerSchemaError(RunError):
    """A newer version of kmtard wrote the record."""


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


def read_results(path: str | os.PathLike[str]) -> Results:
    """Read a record, given as a file or as the folder that holds `evaluation.json`.

    Of a file in which version 0.1 left both a training's table and a later evaluation,
    the table is returned; `read_all` returns both.

    Raises:
        RunError: there is no file, it is not a record, or a newer version wrote it.
    """
    return _read(_file(path))[0]


def read_figures(path: str | os.PathLike[str]) -> Results:
    """Read a record without its labels and predictions.

    They are most of the work, and a list of many runs does not need them.

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
        folder: of the run, or the `MODEL.evaluation` of a file.

    Returns:
        The records, that of `evaluation.json` first, and one message for each file
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

    Evaluations under other conditions than the first stand in `evaluation/NAME.json`.
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
        RunError: there is no file, it is not a JSON object, or its schema is newer.
    """
    try:
        content = json.loads(read_regular(path))
    except FileNotFoundError as error:
        raise RunError(
            f"Expected an evaluation in {path}, which does not exist. "
            "Make it with `kmtard evaluate`."
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"Expected an evaluation in {path}: {error}.") from error
    if not isinstance(content, dict):
        raise RunError(
            f"Expected an evaluation in {path}. Received: {type(content).__name__}."
        )
    schema = content.get("schema", content.get("format", SCHEMA))
    if not isinstance(schema, int) or schema > SCHEMA:
        raise NewerSchemaError(
            f"{path} has schema {schema!r}, and this version of kmtard reads schemas "
            f"up to {SCHEMA}. Read it with a newer version of kmtard."
        )
    return content


def _read(path: Path) -> list[Results]:
    return parse(path, read_content(path))


def parse(path: Path, content: Mapping[str, Any]) -> list[Results]:
    """Return what the content of a record says; two of a file that holds both.

    Args:
        path: of the file, for messages and for the place of its pictures.
        content: as `read_content` returns it.

    Raises:
        RunError: a part is missing or wrong.
    """
    try:
        if "schema" in content:
            return [_current(path, content)]
        found = [_of_training(path, content)] if "rows" in content else []
        if "format" in content:
            found.append(_of_evaluation(path, content))
    except WRONG as error:
        raise RunError(
            f"Expected an evaluation in {path}, but a part of it is missing or wrong: "
            f"{type(error).__name__}: {error}. Evaluate the model again."
        ) from error
    if not found:
        raise RunError(
            f"Expected an evaluation in {path}. Received: an object with the keys "
            f"{', '.join(map(_shown, list(content)[:10])) or 'none'}. Make it with "
            "`kmtard evaluate`."
        )
    return found


def _current(path: Path, content: Mapping[str, Any]) -> Results:
    headline = _optional(_text, content["headline"])
    networks = tuple(_network(each, headline) for each in content["networks"])
    if not networks:
        raise ValueError("`networks` is empty")
    pictures = content["pictures"]
    return Results(
        path=path,
        networks=networks,
        headline=headline,
        images=_whole(content["images"]),
        data=_text(content["data"]),
        conditions=_table(content["conditions"]),
        environment=_table(content["environment"]),
        labels=_integers(content["labels"]),
        pictures=pictures and _pictures(path, pictures),
    )


def _network(content: Mapping[str, Any], headline: str | None) -> NetworkResults:
    return NetworkResults(
        role=_text(content["role"]),
        name=_text(content["name"]),
        clean=replace(_score(content["clean"]), w_robust=None),
        attacks={str(k): _score(v) for k, v in content["attacks"].items()},
        headline=headline,
        worst_case=_score(content["worst_case"]),
        findings=_findings(content["findings"]),
        seconds=_optional(_number, content["seconds"]),
        weights=_optional(_text, content["weights"]),
    )


def _of_training(path: Path, content: Mapping[str, Any]) -> Results:
    """Read the table of a training by version 0.1."""
    # An evaluation that was written into the file replaced its images and attacks.
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
        images=None if mixed else _whole(content["images"]),
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
    """Read an evaluation of one network by version 0.1."""
    found = content["attacks"].items()
    attacks = {canonical("attacks", str(k)): _score(v) for k, v in found}
    headline = headline_of({name: score.accuracy for name, score in attacks.items()})
    name = _text(content["model"])
    # In a run's folder it was always the student that was evaluated.
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
    environment = _table(content["environment"])
    known: dict[str, Any] = {
        key: environment[key] for key in ("seed", "backend") if key in environment
    }
    return Results(
        path=path,
        networks=(network,),
        headline=headline,
        images=_whole(content["images"]),
        data=_text(content["data"]),
        conditions={"images": _text(content["fingerprint"]), **known},
        environment=environment,
        labels=_integers(content["labels"]),
    )


def _score(content: Mapping[str, Any]) -> Score:
    low, high = content["interval"]
    worst, settings = content["worst_class"], _table(content["settings"])
    return Score(
        accuracy=_share(content["accuracy"]),
        interval=(_share(low), _share(high)),
        correct=_whole(content["correct"]),
        w_robust=_share(content["w_robust_accuracy"]),
        epsilon=_optional(_number, epsilon_of(settings)),
        worst_class=(_whole(worst["label"]), _share(worst["accuracy"])),
        settings=settings,
        cost=_optional(_cost, content["cost"]),
        distance=_optional(_distance, content["distance"]),
        stages=_optional(_stages, content["stages"]),
        robust=_text(content["robust"]),
        predictions=_integers(content.get("predictions") or ""),
    )


def _pictures(path: Path, content: Mapping[str, Any]) -> Pictures:
    folder = path.parent / _text(content["folder"])
    return Pictures(folder, tuple(map(_whole, content["indices"])))


def _findings(content: Iterable[Mapping[str, Any]]) -> tuple[Finding, ...]:
    return tuple(
        Finding(_text(each["name"]), _text(each["message"])) for each in content
    )


def _integers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split()))


def _share(value: Any) -> float:
    share = _number(value)
    if not 0 <= share <= 1:
        raise ValueError(f"expected a number in [0, 1], received {_shown(value)}")
    return share


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"expected a number, received {_shown(value)}")
    if not math.isfinite(value):
        raise ValueError(f"expected a finite number, received {_shown(value)}")
    return float(value)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"expected a whole number, received {_shown(value)}")
    if not 0 <= value < MANY:
        raise ValueError(f"expected a number from 0 to {MANY}, received a larger one")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a text, received {_shown(value)}")
    return value


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"expected an object, received {_shown(value)}")
    return value


def _cost(content: Any) -> Cost:
    kept = _table(content)
    median = kept["median_queries"]
    return Cost(
        queries=_number(kept["queries"]),
        median_queries=_optional(_number, median),
        max_queries=_whole(kept["max_queries"]),
        forwards=_number(kept["forwards"]),
        backwards=_number(kept["backwards"]),
        seconds=_number(kept["seconds"]),
    )


def _distance(content: Any) -> Distance:
    kept = _table(content)
    return Distance(*(_optional(_number, kept[name]) for name in ("linf", "l2")))


def _stages(content: Any) -> dict[str, int]:
    return {name: _whole(count) for name, count in _table(content).items()}


def _shown(value: Any) -> str:
    """Return a value for an error, however large it is."""
    if isinstance(value, dict | list):
        return f"{type(value).__name__} of {len(value)}"
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."


def _optional(read: Callable[[Any], Found], value: Any) -> Found | None:
    return None if value is None else read(value)
