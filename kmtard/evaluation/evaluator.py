"""`evaluate`: run attacks on models and return one `Evaluation`."""

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
from kmtard.backend import distribution
from kmtard.evaluation.corruptions.choice import Baseline, Corruptions, Names
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
from kmtard.registry.corruptions import CORRUPTIONS
from kmtard.runs.results import HEADLINE, MODEL

PACKAGES = ("kmtard", "keras", "numpy", "tensorflow", "jax", "torch")

Attacks = str | Attack | Sequence[str | Attack] | Mapping[str, Attack]


@dataclass(frozen=True)
class Candidate:
    """A network to evaluate.

    Attributes:
        model: any Keras model from images in [0, 1] to logits, or its `Classifier`.
        attacks: name -> attack.
        name: a name for the user.
        role: `student`, `nat_teacher`, `adv_teacher`, or `model` outside of runs.
        seconds: duration of its training; None if it was not trained in this run.
        findings: findings from before the evaluation.
        trained_accuracy: clean accuracy at the end of its training, in [0, 1]; None if
            unknown.
        smaller: its evaluation by the same attacks with a smaller radius; the images
            fooled there count as fooled, and are not attacked again.
        corruptions: the common corruptions to evaluate; None for none.
    """

    model: Any
    attacks: Mapping[str, Attack]
    name: str
    role: str = MODEL
    seconds: float | None = None
    findings: tuple[Finding, ...] = ()
    trained_accuracy: float | None = None
    smaller: NetworkEvaluation | None = None
    corruptions: Corruptions | None = None


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
    loss: Callable[[Any, Any], Any] | None = None,
    surrogate: Any = None,
    corruptions: Names | None = None,
    corruption_baseline: Baseline | None = None,
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
    smaller: Sequence[Evaluation] = (),
    provenance: Mapping[str, Any] | None = None,
    watch: Callable[[Step], None] = lambda step: None,
) -> Evaluation:
    """Evaluate a model under attacks.

    An image is robust under an attack if the model classifies it correctly both clean
    and attacked. Images that the model misclassifies clean are not attacked. The random
    numbers of an image depend only on `seed` and its index, so that batch sizes,
    interruptions and backends do not change them. The memory for adversarial images is
    that of one batch.

    Args:
        model: any Keras model from images in [0, 1] to logits; a final softmax is found
            and skipped. A PyTorch module in evaluation mode with the backend torch, or
            a function of tensors; see `kmtard.attacks.targets.as_model`. Or its
            `Classifier`, which keeps what it has compiled; then `input_range` is that
            of the classifier.
        data: a pair (x, y) of arrays of any library, with x in [0, 1] and integer
            labels y; or the name of a registered data set, a `DataSet` (its test split
            is used), or a `Split`.
        attacks: one or several registered names or `Attack` objects, or a mapping name
            -> `Attack`; FGSM and PGD_trades by default.
        suite: a name in `kmtard.evaluation.suites.SUITES`, such as `paper` for the
            attacks in the tables of the B-MTARD paper; `attacks` are added to it.
        epsilon: radius of the ball for attacks given by name, in [0, 1].
        step_size: step size of PGD attacks given by name; None for that of the papers,
            scaled with epsilon.
        steps: number of steps of PGD attacks given by name; None for that of the
            papers.
        norm: norm of the ball for attacks given by name, "linf", "l2" or "l1".
        loss: your own loss for an adaptive attack: a function of labels (batch,) and
            logits (batch, classes) that returns (batch,) values. FGSM, PGD and APGD-CE
            given by name maximize it instead of the cross-entropy.
        surrogate: model on which transfer attacks craft their images. Without one, a
            suite skips these attacks, and a finding lists them.
        corruptions: common corruptions to evaluate beside the attacks: "all" for the
            fifteen of ImageNet-C at five severities, some of their names, or the folder
            of the published files of CIFAR-10-C; None for none. See
            `kmtard.evaluation.corruptions`.
        corruption_baseline: errors of the model that the mean corruption error (mCE)
            refers to, such as AlexNet: corruption -> error in (0, 1], or one error per
            severity; or a JSON file with them. Without it, there is no mCE.
        headline: the attack for W-Robust accuracy; if it is not among the attacks, the
            strongest one is used.
        input_range: (low, high) of the images that the model expects, and of the images
            in a pair of arrays; (0, 255) for a model that begins with Rescaling(1 /
            255). Epsilon and distances still refer to [0, 1]. A surrogate expects
            images in [0, 1].
        seed: seed of all random numbers.
        batch_size: number of images per batch, >= 1.
        folder: folder for `evaluation.json`. Its subfolder `evaluation/` gets up to 64
            images as PNG, and the finished batches, from which an interrupted
            evaluation continues. None writes nothing. If evaluation.json has the same
            conditions (images, seed, epsilon, step size, steps, norm, backend), its
            other attacks are kept. If it has other conditions, the new record goes to
            `evaluation/NAME.json`. If the configuration does not identify the model, as
            for a subclassed one without `get_config`, each evaluation starts from the
            beginning, and a finding says so.
        own: True replaces an evaluation.json with other conditions; False never writes
            evaluation.json.
        save_images: whether to write all adversarial images as float32 to
            `ATTACK.npy`, next to the PNG images; images that were not attacked are
            written clean.
        name: a name of the model for the user; its Keras name by default.
        role: role of the model; `student` for the student of a run.
        trained_accuracy: clean accuracy of the model in its training, in [0, 1]; a
            finding reports if the accuracy here is far below it.
        smaller: evaluations of the same model and images by the same attacks with
            smaller radii, in ascending order; see `kmtard.evaluation.curve`. The images
            that an attack fooled at a smaller radius count as fooled. The record says
            so in its conditions.
        provenance: plain JSON that the record keeps with the versions: where the
            model comes from, and the command lines that asked for the evaluation. The
            commands of an earlier evaluation of the same weights are kept.
        watch: called before each attack, repeatedly within a batch (then `Step.doing`
            is not None), and after each batch has been stored. An exception that it
            raises ends the evaluation.

    Returns:
        The evaluation; with a `folder`, the record there, including its other attacks.

    Raises:
        ValueError: an argument is invalid, or the model's logits are not finite.
        RunError: the folder cannot be written, another process uses it, or a newer
            version of kmtard wrote it.

    Example:
        >>> found = evaluate(model, (x, y), attacks=["fgsm", "apgd_ce"])
        >>> found.robust_accuracy["apgd_ce"] <= found.clean_accuracy
        True
    """
    if save_images and folder is None:
        raise ValueError(
            "`save_images` needs a folder for the images. Received: folder=None. "
            "Give `folder`."
        )
    strength = Strength(epsilon, step_size, steps, norm, loss)
    chosen = choose_attacks(attacks, suite, strength, surrogate)
    if corruptions is None and corruption_baseline is not None:
        raise ValueError(
            "`corruption_baseline` needs corruptions to compare with. Received: "
            'corruptions=None. Give `corruptions`, such as "all".'
        )
    asked = None
    if corruptions is not None:
        asked = Corruptions.of(corruptions, corruption_baseline)
    low, high = input_range
    if not low < high:
        raise ValueError(
            "`input_range` must be (low, high) with low < high, such as (0, 255). "
            f"Received: {input_range!r}."
        )
    images = ImageSet.of(data, input_range)
    if isinstance(model, Classifier):
        classifier = model
    else:
        example = low + (high - low) * images.batch(slice(0, 1))
        classifier = Classifier(model, example, input_range=input_range)
    candidate = Candidate(
        model=classifier,
        attacks=chosen,
        name=name or classifier.model.name,
        role=role,
        findings=missing_surrogate(suite, surrogate),
        trained_accuracy=trained_accuracy,
        smaller=smaller[-1].student if smaller else None,
        corruptions=asked,
    )
    return evaluate_networks(
        [candidate],
        images,
        strength=strength,
        smaller=tuple(each.conditions["epsilon"] for each in smaller),
        headline=headline,
        seed=seed,
        batch_size=batch_size,
        folder=folder,
        own=own,
        save_images=save_images,
        provenance=provenance,
        watch=watch,
    )


def evaluate_networks(
    candidates: Sequence[Candidate],
    images: ImageSet,
    *,
    strength: Strength,
    smaller: tuple[float, ...] = (),
    headline: str = HEADLINE,
    seed: int = 0,
    batch_size: int = 128,
    folder: str | PathLike[str] | None = None,
    own: bool | None = None,
    save_images: bool = False,
    provenance: Mapping[str, Any] | None = None,
    watch: Callable[[Step], None] = lambda step: None,
    tell: Callable[[NetworkEvaluation, str | None], None] = lambda network, name: None,
) -> Evaluation:
    """Evaluate several networks on the same images and return one record.

    Args:
        candidates: the networks, the student first. Only the first one has diagnostics
            and PNG images.
        images: the images and labels.
        strength: settings of the attacks given by name.
        smaller: radii of the candidates' smaller evaluations, in ascending order.
        headline: as in `evaluate`.
        seed: as in `evaluate`.
        batch_size: as in `evaluate`.
        folder: as in `evaluate`.
        own: as in `evaluate`.
        save_images: as in `evaluate`, for the first network.
        provenance: as in `evaluate`.
        watch: as in `evaluate`.
        tell: called with each finished network and the attack for W-Robust accuracy.

    Returns:
        The evaluation; see `evaluate`.

    Raises:
        ValueError: see `evaluate`.
        RunError: see `evaluate`.
    """
    _check(candidates, batch_size)
    conditions = _conditions(images, strength, seed)
    if smaller:
        conditions["smaller_epsilons"] = list(smaller)
    if isinstance(candidates[0].model, Classifier):
        low, high = candidates[0].model.input_range
        if (low, high) != (0, 1):
            conditions["input_range"] = [low, high]
    record = Record.of(folder, len(images), conditions, own) if folder else None
    found: list[NetworkEvaluation] = []
    pictures: tuple[int, ...] = ()
    for candidate in candidates:
        first = not found
        corruptions = candidate.corruptions.names if candidate.corruptions else ()
        evaluator = NetworkEvaluator(
            classifier=Classifier.of(candidate.model, images.batch(slice(0, 1))),
            images=images,
            names=(CLEAN, *candidate.attacks, *corruptions),
            seed=seed,
            batch_size=batch_size,
            watch=watch,
            save_images=save_images and first,
            diagnose=first,
            smaller=smaller,
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
        environment=_environment(candidates[0].model, seed, batch_size)
        | dict(provenance or {}),
        wanted=headline,
        pictures=pictures,
        class_names=images.class_names,
    )
    return record.write(evaluation) if record else evaluation


def choose_attacks(
    attacks: Attacks | None, suite: str | None, strength: Strength, surrogate: Any
) -> dict[str, Attack]:
    """Return the attacks of a suite and the given attacks by name.

    A given attack replaces an attack of the suite with the same name.

    Raises:
        ValueError: a name is unknown, or a surrogate is missing.
        TypeError: an item of `attacks` is neither a name nor an attack.
    """
    chosen = suite_attacks(suite, strength, surrogate) if suite else {}
    if attacks is not None or suite is None:
        given = DEFAULT_ATTACKS if attacks is None else attacks
        chosen |= _named(given, strength, surrogate)
    return chosen


def missing_surrogate(suite: str | None, surrogate: Any) -> tuple[Finding, ...]:
    """Return a finding about the attacks of a suite that need a surrogate."""
    missing = left_out(suite) if suite and surrogate is None else []
    text = f"No surrogate was given. Skipped attacks: {', '.join(missing)}."
    return (Finding("no-surrogate", text),) if missing else ()


def _evaluated(
    evaluator: NetworkEvaluator, candidate: Candidate, weights: str | None
) -> NetworkEvaluation:
    attacks, asked = candidate.attacks, candidate.corruptions
    # Before the attacks, because it may refuse the images.
    corrupted = evaluator.corrupted_images(asked) if asked else None
    clean = evaluator.clean()
    evaluator.check(attacks)
    smaller = candidate.smaller.attacks if candidate.smaller else {}
    columns = {
        name: evaluator.attacked(name, attack, clean, smaller.get(name))
        for name, attack in attacks.items()
    }
    corruptions = {}
    if asked and corrupted:
        corruptions = {
            name: evaluator.corrupted(name, corrupted, asked.baseline.get(name))
            for name in asked.names
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
        corruptions=corruptions,
    )


def _named(attacks: Attacks, strength: Strength, surrogate: Any) -> dict[str, Attack]:
    """Return attacks by name; `Attack` objects are named after their class."""
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
                "`attacks` must be names of attacks or Attack objects. Received: an "
                f"object of type {type(each).__name__}."
            )
    return named


def _check(candidates: Sequence[Candidate], batch_size: int) -> None:
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be >= 1. Received: {batch_size!r}.")
    for candidate in candidates:
        if taken := {CLEAN, WORST_CASE, *CORRUPTIONS} & candidate.attacks.keys():
            raise ValueError(
                f"The names {CLEAN!r} and {WORST_CASE!r} are reserved, and so are "
                "those of corruptions. Received: attacks named "
                f"{', '.join(map(repr, sorted(taken)))}. Rename them."
            )


def _conditions(images: ImageSet, strength: Strength, seed: int) -> dict[str, Any]:
    """Return the conditions that all results in one record share."""
    # Only if it is not the default: records of version 0.1 do not contain it.
    norm = {"norm": strength.norm} if strength.norm != "linf" else {}
    own = {"loss": _name_of(strength.loss)} if strength.loss is not None else {}
    return {
        **norm,
        **own,
        "images": images.fingerprint,
        "seed": seed,
        "epsilon": strength.epsilon,
        "step_size": strength.step_size,
        "steps": strength.steps,
        "backend": keras.config.backend(),
    }


def _name_of(function: Callable[..., Any]) -> str:
    name = getattr(function, "__qualname__", type(function).__name__)
    return f"{function.__module__}:{name}"


def _environment(model: Any, seed: int, batch_size: int) -> dict[str, Any]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    model = model.model if isinstance(model, Classifier) else model
    devices = distribution.device_count()
    # Only if it is not the default: records of version 0.1 do not contain it.
    several = {"devices": devices} if devices > 1 else {}
    return {
        **several,
        "backend": keras.config.backend(),
        "dtype": str(model.dtype_policy.name),
        "seed": seed,
        "batch_size": batch_size,
        "versions": versions,
    }
