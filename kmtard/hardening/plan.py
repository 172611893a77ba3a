"""The recipe of a hardening, with as many epochs as the time allows."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomlkit

from kmtard.data.pipeline import DataSet
from kmtard.hardening.examination import Tell
from kmtard.hardening.tries import DEFAULT, Strength, warmup
from kmtard.recipe import Recipe, load
from kmtard.registry.roles import LABELS, Role
from kmtard.training.estimate import Facts, counts_of
from kmtard.training.trial import Trial, generated

HOUR = 3600.0
SLACK = 0.85
"""Share of the time that is planned; measured steps are a little faster than real."""

TEACHER_SHARE = 0.45
"""Share of the training time for the robust teacher."""

MOST_EPOCHS = 100
FEWEST_EPOCHS = 3
NETWORKS = 3
MIXTURES = 3
EVALUATIONS = 10
"""How often a network is evaluated during its training, about."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a user asks for; the arguments of `harden` that its recipe depends on."""

    model: str
    data: str
    directory: str | None
    data_options: dict[str, Any] = field(default_factory=dict)
    epsilon: float = 4 / 255
    adv_teacher: str | None = None
    input_range: tuple[float, float] | None = None
    batch_size: int | None = None
    class_weights: str | None = None
    seed: int = 0
    backend: str = "tensorflow"
    runs_dir: str = "runs"
    overrides: tuple[str, ...] = ()
    strength: Strength = DEFAULT

    @property
    def tries_strength(self) -> bool:
        """Whether the strength of the training is to be chosen by short trainings."""
        own = ("adv_teacher.method", "adv_teacher=", "optimizer", "method")
        chosen = any(each.strip().startswith(own) for each in self.overrides)
        return self.adv_teacher is None and not chosen


def recipe_of(request: Request, data: DataSet, *, mirrors: bool) -> Recipe:
    """Return the recipe of a hardening, before its epochs are fitted to the time.

    Args:
        request: what the user asks for.
        data: the images.
        mirrors: whether the model turned images left to right when it was trained.

    Raises:
        RecipeError: an override is wrong.
    """
    return _loaded(document(request, data, mirrors=mirrors), request)


def _loaded(content: dict[str, Any], request: Request) -> Recipe:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "harden.toml"
        path.write_text(tomlkit.dumps(content), encoding="utf-8")
        return load(path, overrides=request.overrides)


def document(request: Request, data: DataSet, *, mirrors: bool) -> dict[str, Any]:
    """Return the recipe as tables, with the defaults of a hardening."""
    # Few steps: with Keras's 0.99, the averages, which attacks use, would be outdated.
    options: dict[str, Any] = {"momentum": 0.9}
    if request.input_range:
        options["input_range"] = list(request.input_range)
    network = {"network": request.model, "options": options}
    epsilon = request.epsilon
    robust: dict[str, Any] = {"weights": request.adv_teacher}
    if request.adv_teacher is None:
        robust = {
            "train": True,
            "method": request.strength.method(),
        }
    size = request.batch_size or _batch_size(len(data.train))
    return {
        "data": {
            "name": request.data,
            **({"directory": request.directory} if request.directory else {}),
            **({"options": request.data_options} if request.data_options else {}),
            **(
                {"class_weights": request.class_weights}
                if request.class_weights
                else {}
            ),
            "batch_size": size,
            # A crop that moves images a little. Mirrored digits would be wrong.
            "pad": min(4, min(data.input_shape[:2]) // 16),
            "flip": mirrors,
        },
        "student": network,
        "nat_teacher": {**network, "weights": request.model},
        "adv_teacher": {**network, **robust},
        "method": {
            "name": "b_mtard",
            "initial_losses": "uniform",
            # The mean over the batch, whatever the number of classes.
            "class_scale": float(data.num_classes),
        },
        "attack": {"epsilon": epsilon, "step_size": epsilon / 4, "steps": 7},
        "optimizer": {"learning_rate": request.strength.learning_rate},
        "schedule": {"epochs": FEWEST_EPOCHS},
        "evaluation": {"attacks": ["fgsm", "pgd_trades"]},
        "runtime": {
            "backend": request.backend,
            "seed": request.seed,
            "runs_dir": request.runs_dir,
            "cache_dir": f"{request.runs_dir}/teachers",
        },
    }


def _batch_size(images: int) -> int:
    """Return a power of two, with about 20 steps per epoch for few images."""
    return 2 ** max(4, min(7, round(math.log2(max(1, images / 20)))))


@dataclass(frozen=True)
class Pace:
    """Measured seconds of the parts of a run.

    Attributes:
        first: role -> seconds of the first step and evaluation, with compilation.
        epoch: role -> seconds of an epoch, with its share of the evaluations.
        final: seconds of the last evaluation.
        step: role -> seconds of a step.
        steps: steps per epoch.
    """

    first: dict[Role, float]
    epoch: dict[Role, float]
    final: float
    step: dict[Role, float] = field(default_factory=dict)
    steps: int = 1


def measure(recipe: Recipe, data: DataSet, tell: Tell) -> Pace:
    """Run a few steps of each training on generated images."""
    facts = Facts(
        len(data.train),
        len(data.test),
        data.input_shape,
        data.num_classes,
        None if data.validation is None else len(data.validation),
    )
    counts = counts_of(recipe, facts)
    images = generated(recipe, data.input_shape, data.num_classes)
    first: dict[Role, float] = {}
    epoch: dict[Role, float] = {}
    each_step: dict[Role, float] = {}
    final = 0.0
    trained = recipe.adv_teacher is not None and recipe.adv_teacher.train
    roles: tuple[Role, ...] = ("adv_teacher", "student") if trained else ("student",)
    for role in roles:
        trial = Trial(recipe, role, images)
        step, evaluation = trial.step(), trial.evaluation()
        first[role] = step.first + evaluation.first
        each_step[role] = step.later
        epoch[role] = counts.steps * step.later
        # After every tenth of the epochs, or so.
        epoch[role] += counts.batches * evaluation.later / EVALUATIONS
        size = recipe.data.batch_size
        tests = math.ceil(min(facts.test, recipe.evaluation.limit or facts.test) / size)
        attacks = len(recipe.evaluation.attacks)
        # An attack is compiled anew for each network.
        once = attacks * (evaluation.first + 2 * tests * evaluation.later)
        final = NETWORKS * once + MIXTURES * (
            evaluation.first + tests * evaluation.later
        )
        per_epoch = f"{epoch[role]:.3g} s per epoch"
        tell(f"{LABELS[role]}: {step.later:.2g} s per step, {per_epoch}")
    return Pace(first, epoch, final, each_step, counts.steps)


def epochs_for(pace: Pace, seconds: float) -> dict[Role, int]:
    """Return role -> the epochs that fit into a time, at least `FEWEST_EPOCHS`.

    Example:
        >>> pace = Pace({"student": 10.0}, {"student": 2.0}, 30.0)
        >>> epochs_for(pace, 160)
        {'student': 48}
    """
    left = SLACK * seconds - sum(pace.first.values()) - pace.final
    shares = {"adv_teacher": TEACHER_SHARE, "student": 1 - TEACHER_SHARE}
    whole = sum(shares[role] for role in pace.epoch)
    return {
        role: max(
            FEWEST_EPOCHS,
            min(MOST_EPOCHS, int(left * shares[role] / whole / each)),
        )
        for role, each in pace.epoch.items()
    }


def planned(
    request: Request,
    data: DataSet,
    epochs: dict[Role, int],
    *,
    steps: int,
    mirrors: bool,
) -> Recipe:
    """Return the recipe with a number of epochs for each trained network.

    The user's own overrides come last.

    Args:
        request: what the user asks for.
        data: the images.
        epochs: role -> epochs of its training.
        steps: training steps per epoch.
        mirrors: as in `recipe_of`.

    Raises:
        RecipeError: an override is wrong.
    """
    content = document(request, data, mirrors=mirrors)
    content["schedule"] = _schedule(epochs["student"])
    content["method"]["attack_warmup"] = warmup(steps * epochs["student"])
    if "adv_teacher" in epochs:
        method = content["adv_teacher"]["method"]
        method["schedule"] = _schedule(epochs["adv_teacher"])
        method["attack_warmup"] = warmup(steps * epochs["adv_teacher"])
    return _loaded(content, request)


def _schedule(epochs: int) -> dict[str, Any]:
    milestones: Sequence[int] = sorted({round(0.7 * epochs), round(0.9 * epochs)})
    return {
        "epochs": epochs,
        "milestones": [each for each in milestones if 0 < each < epochs],
        "evaluate_every": max(1, epochs // EVALUATIONS),
    }
