"""Read the results in `evaluation.json`, without loading NumPy or Keras.

`kmtard.evaluation` writes the record. The command line, reports and the launcher read
it here. Files of version 0.1 are read too: those written by a training, those written
by `kmtard evaluate`, and those that hold both.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from kmtard.registry import canonical
from kmtard.registry.corruptions import SEVERITIES
from kmtard.registry.roles import LABELS
from kmtard.runs.documents import table
from kmtard.runs.files import RunError, read_regular
from kmtard.runs.intact import unsealed
from kmtard.runs.records import (
    CLEAN,
    HEADLINE,
    MODEL,
    WORST_CASE,
    CorruptionResults,
    CorruptionScore,
    Cost,
    Distance,
    Finding,
    NetworkResults,
    Pictures,
    Results,
    Score,
    epsilon_of,
    headline_of,
    student_of,
)

__all__ = [
    "CLEAN",
    "CorruptionResults",
    "CorruptionScore",
    "Cost",
    "Distance",
    "Finding",
    "HEADLINE",
    "MODEL",
    "NetworkResults",
    "NewerSchemaError",
    "Pictures",
    "RECORD",
    "Results",
    "SCHEMA",
    "Score",
    "WORST_CASE",
    "epsilon_of",
    "headline_of",
    "parse",
    "read_all",
    "read_content",
    "read_figures",
    "read_results",
    "record_paths",
    "student_of",
]

SCHEMA = 2
"""Version of the record. Version 0.1 of kmtard wrote 1, under the key `format`."""

RECORD = "evaluation.json"

# Errors from reading a value of the wrong type, or one that is nested too deeply.
WRONG = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)

MANY = 10**15
"""Larger numbers are not plausible counts."""

LONGEST_VALUE = 100
"""Largest number of characters of a wrong value in an error."""

Found = TypeVar("Found")


class NewerSchemaError(RunError):
    """The record was written by a newer version of kmtard."""


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
        RunError: see `read_results`.
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
    others = sorted(own.with_suffix("").glob("[!.]*.json"))
    return [path for path in (own, *others) if path.is_file()]


def _file(path: str | os.PathLike[str]) -> Path:
    file = Path(path)
    return file / RECORD if file.is_dir() else file


def read_content(path: Path) -> dict[str, Any]:
    """Return the JSON of a record, of this version or an older one.

    Raises:
        RunError: the file does not exist, is not a JSON object, or does not match its
            checksum.
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
    try:
        return unsealed(content)
    except ValueError as error:
        raise RunError(
            f"Cannot use {path}: {error}. Otherwise evaluate again with `kmtard "
            "evaluate`."
        ) from error


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
    except WRONG as error:
        raise RunError(
            f"Expected an evaluation in {path}, but a part of it is missing or wrong: "
            f"{type(error).__name__}: {error}. Evaluate the model again."
        ) from error
    if not found:
        raise RunError(
            f"Expected an evaluation in {path}. Received: an object with the keys "
            f"{', '.join(map(_shown, list(content)[:10])) or 'none'}. Create it with "
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
        class_names=tuple(map(str, content.get("class_names", ()))),
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
        # Earlier versions of kmtard did not measure them.
        corruptions=_optional(_corruptions, content.get("corruptions")),
    )


def _corruptions(content: Any) -> CorruptionResults:
    kept = _table(content)
    scores = {
        str(name): _corruption(each) for name, each in _table(kept["scores"]).items()
    }
    if not scores:
        raise ValueError("`corruptions` has no scores")
    return CorruptionResults(
        scores, _share(kept["accuracy"]), _interval(kept["interval"])
    )


def _corruption(content: Any) -> CorruptionScore:
    kept = _table(content)
    baseline = _optional(_share, kept["baseline"])
    if baseline == 0:
        raise ValueError("a `baseline` is 0")
    if len(kept["severities"]) != len(SEVERITIES):
        raise ValueError(f"expected {len(SEVERITIES)} severities")
    return CorruptionScore(
        accuracy=_share(kept["accuracy"]),
        interval=_interval(kept["interval"]),
        severities=tuple(
            Score(
                accuracy=_share(each["accuracy"]),
                interval=_interval(each["interval"]),
                correct=_whole(each["correct"]),
            )
            for each in kept["severities"]
        ),
        settings=_table(kept["settings"]),
        baseline=baseline,
    )


def _interval(content: Any) -> tuple[float, float]:
    low, high = content
    return _share(low), _share(high)


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
    """Read the evaluation of one network that version 0.1 wrote."""
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
    worst, settings = content["worst_class"], _table(content["settings"])
    return Score(
        accuracy=_share(content["accuracy"]),
        interval=_interval(content["interval"]),
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
        confidences=_confidences(content.get("confidences", {})),
    )


def _confidences(content: Any) -> dict[int, float]:
    return {int(index): _share(value) for index, value in _table(content).items()}


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
    means = (kept["linf"], kept["l2"])
    # Earlier versions wrote no medians.
    medians = (kept.get("median_linf"), kept.get("median_l2"))
    return Distance(*(_optional(_number, each) for each in (*means, *medians)))


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
