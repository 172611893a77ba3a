"""`evaluate`: a model, images and attacks in, an `Evaluation` out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from os import PathLike
from pathlib import Path
from typing import Any

import keras

from kmtard.attacks import Attack
from kmtard.attacks.classifier import Classifier
from kmtard.evaluation.diagnostics.diagnose import of_results
from kmtard.evaluation.diagnostics.finding import Finding
from kmtard.evaluation.images import ImageSet
from kmtard.evaluation.judging import Judging, Step
from kmtard.evaluation.result import CLEAN, WORST_CASE, Evaluation
from kmtard.evaluation.suites import (
    DEFAULT_ATTACKS,
    PAPER_EPSILON,
    Strength,
    left_out,
    named_attacks,
    suite_attacks,
)
from kmtard.runs.files import RunError, lock_for_life, write_atomic

PACKAGES = ("kmtard", "keras", "numpy", "tensorflow", "jax", "torch")

Attacks = str | Attack | Sequence[str | Attack] | Mapping[str, Attack]


def evaluate(
    model: Any,
    data: Any,
    *,
    attacks: Attacks | None = None,
    suite: str | None = None,
    epsilon: float = PAPER_EPSILON,
    step_size: float | None = None,
    steps: int | None = None,
    surrogate: Any = None,
    seed: int = 0,
    batch_size: int = 128,
    folder: str | PathLike[str] | None = None,
    save_images: bool = False,
    name: str | None = None,
    watch: Callable[[Step], None] = lambda step: None,
) -> Evaluation:
    """Judge a model under attacks.

    An image is robust under an attack when the model has it right as it is and under
    the attack; images it has wrong anyway are not attacked. The random numbers of an
    image come from `seed` and its index, so batches, breaks and backends do not change
    the outcome. Memory is bounded by one batch.

    Args:
        model: any Keras model from images in [0, 1] to logits; a softmax at its end
            is found and left out.
        data: (x, y), x in [0, 1] and y integer labels, arrays of any kind; or the name
            of a registered data set, a `DataSet` (its test split), or a `Split`.
        attacks: names of the registry and `Attack` objects, one or several, or a
            mapping that names objects; FGSM and PGD_trades if nothing is said.
        suite: `paper` for all columns of the B-MTARD paper's tables, before `attacks`.
        epsilon: radius of the ball for attacks given by name, in [0, 1].
        step_size: of PGD given by name; None for the paper's, scaled with epsilon.
        steps: of PGD given by name; None for the paper's.
        surrogate: model that transferred images are crafted on; a suite without one
            leaves them out and says so.
        seed: of every random number.
        batch_size: images attacked at a time.
        folder: gets `evaluation.json`, and in `evaluation/` the finished batches, from
            which a broken evaluation goes on; None keeps nothing.
        save_images: also write the adversarial images, float32, to
            `folder/evaluation/images/ATTACK.npy`; clean where none was attacked.
        name: of the model, in words; its Keras name by default.
        watch: called before each attack and after each batch, which is then safe; what
            it raises ends the evaluation.

    Raises:
        ValueError: an argument does not fit, or the model's logits are not finite.
        RunError: the folder cannot be written, or another process works in it.
    """
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be >= 1. Received: {batch_size}")
    if save_images and folder is None:
        raise ValueError("`save_images` needs a `folder` to write them to.")
    strength = Strength(epsilon, step_size, steps)
    chosen = suite_attacks(suite, strength, surrogate) if suite else {}
    if attacks is not None or suite is None:
        chosen |= _named(
            DEFAULT_ATTACKS if attacks is None else attacks, strength, surrogate
        )
    if taken := {CLEAN, WORST_CASE} & chosen.keys():
        raise ValueError(f"No attack may be named {' or '.join(sorted(taken))}.")
    images = ImageSet.of(data)
    judging = Judging(
        classifier=Classifier.of(model, images.batch(slice(0, 1))),
        images=images,
        names=(CLEAN, *chosen),
        seed=seed,
        batch_size=batch_size,
        folder=None if folder is None else _working_folder(Path(folder)),
        save_images=save_images,
        watch=watch,
    )
    missing = left_out(suite) if suite and surrogate is None else []
    evaluation = _execute(
        judging, chosen, name or judging.classifier.model.name, missing
    )
    if folder is not None:
        _write(Path(folder) / "evaluation.json", evaluation)
    return evaluation


def _execute(
    judging: Judging, attacks: Mapping[str, Attack], name: str, missing: Sequence[str]
) -> Evaluation:
    clean = judging.clean()
    judging.check(attacks)
    columns = {each: judging.attacked(each, attack) for each, attack in attacks.items()}
    judging.findings += of_results(columns, attacks)
    if missing:
        text = f"No surrogate was given; left out: {', '.join(missing)}."
        judging.findings.append(Finding("no-surrogate", text))
    evaluation = Evaluation(
        model=name,
        data=judging.images.name,
        fingerprint=judging.fingerprint,
        labels=judging.images.labels,
        clean=clean,
        attacks=columns,
        findings=tuple(judging.findings),
        environment=_environment(judging),
    )
    if judging.folder and judging.save_images:
        for each, attack in attacks.items():
            judging.export_images(each, attack)
    return evaluation


def _named(attacks: Attacks, strength: Strength, surrogate: Any) -> dict[str, Attack]:
    """Return attacks by their names; objects without one are named by their class."""
    if isinstance(attacks, Mapping):
        return dict(attacks)
    if isinstance(attacks, str | Attack):
        attacks = [attacks]
    names = [each for each in attacks if isinstance(each, str)]
    registered = named_attacks(names, strength, surrogate)
    named: dict[str, Attack] = {}
    for each in attacks:
        if isinstance(each, str):
            named[each] = registered[each]
        elif isinstance(each, Attack):
            kind = type(each).__name__.lower()
            count = sum(key.partition("-")[0] == kind for key in named)
            named[f"{kind}-{count + 1}" if count else kind] = each
        else:
            raise TypeError(
                "Expected names of attacks or Attack objects. Received: "
                f"{type(each).__name__}."
            )
    return named


def _working_folder(path: Path) -> Path:
    folder = path / "evaluation"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"Cannot make {folder}: {error.strerror}.") from error
    lock_for_life(folder / ".lock")
    return folder


def _write(path: Path, evaluation: Evaluation) -> None:
    """Write the result, beside what a training left in the file of its own."""
    try:
        previous = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        previous = {}
    content = {**previous, **evaluation.to_dict()}
    write_atomic(path, json.dumps(content, indent=2) + "\n")


def _environment(judging: Judging) -> dict[str, Any]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "backend": keras.config.backend(),
        "dtype": str(judging.classifier.model.dtype_policy.name),
        "seed": judging.seed,
        "batch_size": judging.batch_size,
        "versions": versions,
    }
