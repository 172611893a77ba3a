"""`evaluate`: models, images and attacks in, one `Evaluation` out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from os import PathLike
from typing import Any

import keras

from kmtard import registry
from kmtard.attacks import Attack
from kmtard.attacks.classifier import Classifier
from kmtard.evaluation.diagnostics.diagnose import of_outcome, of_results, with_answers
from kmtard.evaluation.diagnostics.finding import Finding
from kmtard.evaluation.diagnostics.results import below_training
from kmtard.evaluation.fingerprints import weights_fingerprint
from kmtard.evaluation.images import ImageSet
from kmtard.evaluation.network_evaluator import NetworkEvaluator, Step
from kmtard.evaluation.record import Record
from kmtard.evaluation.result import (
    CLEAN,
    WORST_CASE,
    Evaluation,
    NetworkEvaluation,
    common_headline,
    in_table_order,
)
from kmtard.evaluation.suites import (
    DEFAULT_ATTACKS,
    PAPER_EPSILON,
    Strength,
    left_out,
    named_attacks,
    suite_attacks,
)
from kmtard.runs.results import HEADLINE, MODEL

PACKAGES = ("kmtard", "keras", "numpy", "tensorflow", "jax", "torch")

Attacks = str | Attack | Sequence[str | Attack] | Mapping[str, Attack]


@dataclass(frozen=True)
class Candidate:
    """A network to evaluate.

    Attributes:
        model: any Keras model from images in [0, 1] to logits, or its `Classifier`.
        attacks: name -> attack.
        name: in words.
        role: `student`, `nat_teacher`, `adv_teacher`, or `model` outside of runs.
        seconds: of its training; None where it was not trained in this run.
        findings: what is known beforehand.
        trained_accuracy: clean accuracy that its training had, in [0, 1]; None where
            it is not known.
    """

    model: Any
    attacks: Mapping[str, Attack]
    name: str
    role: str = MODEL
    seconds: float | None = None
    findings: tuple[Finding, ...] = ()
    trained_accuracy: float | None = None


def evaluate(
    model: Any,
    data: Any,
    *,
    attacks: Attacks | None = None,
    suite: str | None = None,
    epsilon: float = PAPER_EPSILON,
    step_size: float | None = None,
    steps: int | None = None,
    norm: str = "linf",
    surrogate: Any = None,
    headline: str = HEADLINE,
    input_range: tuple[float, float] = (0.0, 1.0),
    seed: int = 0,
    batch_size: int = 128,
    folder: str | PathLike[str] | None = None,
    own: bool | None = None,
    save_images: bool = False,
    name: str | None = None,
    role: str = MODEL,
    trained_accuracy: float | None = None,
    watch: Callable[[Step], None] = lambda step: None,
) -> Evaluation:
    """Evaluate a model under attacks.

    An image is robust under an attack if the model classifies it correctly both clean
    and attacked; images that it gets wrong anyway are not attacked. The random numbers
    of an image come from `seed` and its index, so batches, interruptions and backends
    do not change the outcome. Memory is bounded by one batch.

    Args:
        model: any Keras model from images in [0, 1] to logits; a softmax at its end
            is found and left out.
        data: (x, y), x in [0, 1] and y integer labels, arrays of any kind; or the name
            of a registered data set, a `DataSet` (its test split), or a `Split`.
        attacks: names of the registry and `Attack` objects, one or several, or a
            mapping that names objects; FGSM and PGD_trades by default.
        suite: `paper` for all columns of the B-MTARD paper's tables, before `attacks`.
        epsilon: radius of the ball for attacks given by name, in [0, 1].
        step_size: of PGD given by name; None for the paper's, scaled with epsilon.
        steps: of PGD given by name; None for the paper's.
        norm: of the ball for attacks given by name, "linf" or "l2".
        surrogate: model that transferred images are crafted on; a suite without one
            leaves them out and says so.
        headline: the attack that W-Robust accuracy is against; the strongest one where
            it is not among the attacks.
        input_range: of the images that the model was made for, and of those in a pair
            of arrays; (0, 255) for a model that begins with Rescaling(1 / 255).
            Epsilon and distances are in units of [0, 1] all the same. A surrogate reads
            images in [0, 1].
        seed: of every random number.
        batch_size: images attacked at a time.
        folder: gets `evaluation.json`, and in `evaluation/` the finished batches, from
            which an interrupted evaluation goes on, and up to 64 images as PNG; None
            keeps nothing. A model that its configuration does not identify, such as a
            subclassed one without `get_config`, starts anew each time, and a finding
            says so. An evaluation.json under the same conditions (images, seed,
            epsilon, step size, steps, backend) keeps its other attacks; where it is
            under other conditions, the new one goes to `evaluation/NAME.json`.
        own: True replaces an evaluation.json under other conditions; False never
            writes evaluation.json.
        save_images: also write all adversarial images, float32, to `ATTACK.npy` beside
            those pictures; clean where none was attacked.
        name: of the model, in words; its Keras name by default.
        role: `student` for that of a run.
        trained_accuracy: clean accuracy in [0, 1] that the model had in its training;
            a finding tells if it is far below that here.
        watch: called before each attack, often within a batch (`Step.doing` is then
            not None), and after each batch, which is then safe; what it raises ends the
            evaluation.

    Returns:
        What was found, or what the record in `folder` now holds.

    Raises:
        ValueError: an argument does not fit, or the model's logits are not finite.
        RunError: the folder cannot be written, another process works in it, or a newer
            version of kmtard wrote it.

    Example:
        >>> found = evaluate(model, (x, y), attacks=["fgsm", "apgd_ce"])
        >>> found.robust_accuracy["apgd_ce"] <= found.clean_accuracy
        True
    """
    if save_images and folder is None:
        raise ValueError("`save_images` needs a `folder` to write them to.")
    strength = Strength(epsilon, step_size, steps, norm)
    chosen = choose_attacks(attacks, suite, strength, surrogate)
    low, high = input_range
    if not low < high:
        raise ValueError(
            f"`input_range` must be (low, high), such as (0, 255). Received: "
            f"{input_range!r}."
        )
    images = ImageSet.of(data, input_range)
    example = low + (high - low) * images.batch(slice(0, 1))
    classifier = Classifier(model, example, input_range=input_range)
    candidate = Candidate(
        model=classifier,
        attacks=chosen,
        name=name or classifier.model.name,
        role=role,
        findings=missing_surrogate(suite, surrogate),
        trained_accuracy=trained_accuracy,
    )
    return evaluate_networks(
        [candidate],
        images,
        strength=strength,
        headline=headline,
        seed=seed,
        batch_size=batch_size,
        folder=folder,
        own=own,
        save_images=save_images,
        watch=watch,
    )


def evaluate_networks(
    candidates: Sequence[Candidate],
    images: ImageSet,
    *,
    strength: Strength,
    headline: str = HEADLINE,
    seed: int = 0,
    batch_size: int = 128,
    folder: str | PathLike[str] | None = None,
    own: bool | None = None,
    save_images: bool = False,
    watch: Callable[[Step], None] = lambda step: None,
    tell: Callable[[NetworkEvaluation, str | None], None] = lambda network, name: None,
) -> Evaluation:
    """Evaluate networks on the same images, into one record; see `evaluate`.

    Args:
        candidates: the student first. Diagnostics and pictures are of the first one.
        images: what they are evaluated on.
        strength: of the attacks given by name.
        headline: as for `evaluate`.
        seed: as for `evaluate`.
        batch_size: as for `evaluate`.
        folder: as for `evaluate`.
        own: as for `evaluate`.
        save_images: as for `evaluate`, of the first network.
        watch: as for `evaluate`.
        tell: called with each finished network, and the attack that W-Robust accuracy
            is against.

    Raises:
        ValueError: as `evaluate`.
        RunError: as `evaluate`.
    """
    _check(candidates, batch_size)
    conditions = _conditions(images, strength, seed)
    if isinstance(candidates[0].model, Classifier):
        low, high = candidates[0].model.input_range
        if (low, high) != (0, 1):
            conditions["input_range"] = [low, high]
    record = Record.of(folder, len(images), conditions, own) if folder else None
    found: list[NetworkEvaluation] = []
    pictures: tuple[int, ...] = ()
    for candidate in candidates:
        first = not found
        evaluator = NetworkEvaluator(
            classifier=Classifier.of(candidate.model, images.batch(slice(0, 1))),
            images=images,
            names=(CLEAN, *candidate.attacks),
            seed=seed,
            batch_size=batch_size,
            watch=watch,
            save_images=save_images and first,
            diagnose=first,
        )
        weights = None
        if record:
            weights = weights_fingerprint(evaluator.classifier.model)
            evaluator.keep_batches(record.batches("" if first else candidate.role))
            if first:
                pictures = evaluator.keep_pictures(record.pictures_of(weights))
        found.append(_evaluated(evaluator, candidate, weights))
        tell(found[-1], common_headline(found[0], candidates, headline))
    evaluation = Evaluation(
        data=images.name,
        labels=images.labels,
        networks=in_table_order(found),
        conditions=conditions,
        environment=_environment(candidates[0].model, seed, batch_size),
        wanted=headline,
        pictures=pictures,
        class_names=images.class_names,
    )
    return record.write(evaluation) if record else evaluation


def choose_attacks(
    attacks: Attacks | None, suite: str | None, strength: Strength, surrogate: Any
) -> dict[str, Attack]:
    """Return the attacks of a suite and those given, which win where both have one.

    Raises:
        ValueError: a name is unknown, or a surrogate is missing.
        TypeError: something is neither a name nor an attack.
    """
    chosen = suite_attacks(suite, strength, surrogate) if suite else {}
    if attacks is not None or suite is None:
        given = DEFAULT_ATTACKS if attacks is None else attacks
        chosen |= _named(given, strength, surrogate)
    return chosen


def missing_surrogate(suite: str | None, surrogate: Any) -> tuple[Finding, ...]:
    """Return a finding about the attacks of a suite that lack their surrogate."""
    missing = left_out(suite) if suite and surrogate is None else []
    text = f"No surrogate was given; left out: {', '.join(missing)}."
    return (Finding("no-surrogate", text),) if missing else ()


def _evaluated(
    evaluator: NetworkEvaluator, candidate: Candidate, weights: str | None
) -> NetworkEvaluation:
    attacks = candidate.attacks
    clean = evaluator.clean()
    evaluator.check(attacks)
    columns = {
        name: evaluator.attacked(name, attack, clean)
        for name, attack in attacks.items()
    }
    compared: list[Finding] = []
    if evaluator.diagnose:
        compared += of_results(columns)
        classes = evaluator.classifier.num_classes
        compared += of_outcome(clean, columns, evaluator.images, classes)
    trained = candidate.trained_accuracy
    compared += below_training(clean.correct, len(clean.robust), trained)
    findings = [*evaluator.findings, *compared, *candidate.findings]
    return NetworkEvaluation(
        role=candidate.role,
        name=candidate.name,
        clean=clean,
        attacks=columns,
        findings=tuple(with_answers(findings, columns)),
        seconds=candidate.seconds,
        weights=weights,
    )


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
            name = registry.canonical("attacks", each)
            named[name] = registered[name]
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


def _check(candidates: Sequence[Candidate], batch_size: int) -> None:
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be >= 1. Received: {batch_size}")
    for candidate in candidates:
        if taken := {CLEAN, WORST_CASE} & candidate.attacks.keys():
            raise ValueError(f"No attack may be named {' or '.join(sorted(taken))}.")


def _conditions(images: ImageSet, strength: Strength, seed: int) -> dict[str, Any]:
    """Return what results must share to stand in one record."""
    # Only where it differs: records of version 0.1 do not have it.
    norm = {"norm": strength.norm} if strength.norm != "linf" else {}
    return {
        **norm,
        "images": images.fingerprint,
        "seed": seed,
        "epsilon": strength.epsilon,
        "step_size": strength.step_size,
        "steps": strength.steps,
        "backend": keras.config.backend(),
    }


def _environment(model: Any, seed: int, batch_size: int) -> dict[str, Any]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    model = model.model if isinstance(model, Classifier) else model
    return {
        "backend": keras.config.backend(),
        "dtype": str(model.dtype_policy.name),
        "seed": seed,
        "batch_size": batch_size,
        "versions": versions,
    }
