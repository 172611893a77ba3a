"""An evaluation that a command line asks for, completed from the run's recipe.

Nothing here imports Keras before a plan is executed. The backend must be chosen first,
and a wrong command line should be refused quickly.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kmtard import registry
from kmtard.evaluation.corruptions.choice import Corruptions
from kmtard.evaluation.suites import (
    DEFAULT_ATTACKS,
    OWN_LOSS,
    SUITES,
    Strength,
    find_mistakes,
    needs_surrogate,
    no_use_for_loss,
)
from kmtard.recipe import Recipe
from kmtard.registry import robustbench
from kmtard.runs import RunError
from kmtard.runs.results import HEADLINE
from kmtard.training.startup import check_backend
from kmtard.training.subject import Subject, image_set_name, load_model

if TYPE_CHECKING:
    from kmtard.evaluation.network_evaluator import Step
    from kmtard.evaluation.result import Evaluation

POSITIVE = ("limit", "batch_size")
CONDITIONS = (
    *("data", "directory", "limit", "epsilon", "step_size", "steps", "norm", "seed"),
    *("backend", "surrogate", "input_range", "loss"),
)
"""Settings that must equal the recipe's, so that results can be compared."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How to evaluate a model. Attributes that are not listed are those of `evaluate`.

    Attributes:
        model: path of a run's folder or of a .keras file.
        data: name of the data set; None if nothing names one.
        directory: folder with the data set's files.
        data_options: options of the data set.
        limit: number of test images; None for all.
        backend: Keras backend.
        devices: number of devices that share each batch, or "all".
        threads: number of threads that compute on a CPU; None for one per core.
        loss: `module:function` of the loss that FGSM, PGD and APGD-CE maximize; None
            for the cross-entropy.
        surrogate: .keras file of the model on which transfer attacks craft their
            images; None for the run's robust teacher.
        input_range: range of the images that the model expects; None for [0, 1].
        epsilons: several radii to evaluate instead of `epsilon`, for a curve; None for
            one.
        corruptions: "all", names separated by commas, or a folder of published files;
            None for no corruptions.
        corruption_baseline: JSON file with the errors that mCE refers to.
        output: folder for the results; None for the model's own.
        command: the command line that asks for it, for the record; empty if unknown.
        own: as in `evaluate`: True under the conditions of the run's recipe, False
            under others, None if there is no run or `output` is given.
    """

    model: str
    attacks: tuple[str, ...] = DEFAULT_ATTACKS
    suite: str | None = None
    data: str | None = None
    directory: str | None = None
    data_options: Mapping[str, Any] | None = None
    limit: int | None = None
    epsilon: float = Strength.epsilon
    epsilons: tuple[float, ...] | None = None
    step_size: float | None = None
    steps: int | None = None
    norm: str = "linf"
    loss: str | None = None
    batch_size: int = 128
    seed: int = 0
    backend: str = os.environ.get("KERAS_BACKEND") or "tensorflow"
    devices: int | Literal["all"] = 1
    threads: int | None = None
    surrogate: str | None = None
    input_range: tuple[float, float] | None = None
    corruptions: str | None = None
    corruption_baseline: str | None = None
    output: str | None = None
    save_images: bool = False
    headline: str = HEADLINE
    command: str = ""
    own: bool | None = None

    @classmethod
    def of(
        cls,
        given: Mapping[str, Any],
        recipe: Recipe | None,
        settings: Mapping[str, Any] | None = None,
    ) -> Plan:
        """Return the plan for a command line.

        Args:
            given: the options that were given, by the names of the attributes.
            recipe: the run's recipe, for all other attributes; None for a file.
            settings: attributes that a file brings without a recipe.
        """
        of_run = settings = _of_recipe(recipe) if recipe else dict(settings or {})
        if given.get("data", settings.get("data")) != settings.get("data"):
            settings |= {"directory": None, "data_options": None, "limit": None}
        if {"attacks", "suite"} & given.keys():
            settings |= {"attacks": (), "suite": None}
        plan = cls(**{**settings, **given})
        # The smallest radius has the record that it would have alone.
        if positive := [radius for radius in plan.epsilons or () if radius > 0]:
            plan = replace(plan, epsilon=min(positive))
        if recipe is None or plan.output is not None:
            return plan
        same = all(getattr(plan, key) == of_run.get(key) for key in CONDITIONS)
        return replace(plan, own=same)

    def mistakes(self, subject: Subject | None) -> list[str]:
        """Return all mistakes, one text each.

        Args:
            subject: what to evaluate; None if it was not found.
        """
        found = [
            f"Expected --{name.replace('_', '-')} >= 1. Received: {value}."
            for name in POSITIVE
            if (value := getattr(self, name)) is not None and value < 1
        ]
        try:
            check_backend(self.backend)
        except ValueError as error:
            found.append(str(error))
        found += self._device_mistakes()
        # If no subject was found, only that is reported.
        has_teacher = subject is None or subject.has_teacher
        has_surrogate = has_teacher or self.surrogate is not None
        found += find_mistakes(
            self.attacks, has_surrogate=has_surrogate, norm=self.norm
        )
        if self.suite is not None and self.suite not in SUITES:
            near = registry.nearest(self.suite, SUITES)
            hint = f" Did you mean {near}?" if near else ""
            found.append(
                f"Expected one of the suites {', '.join(SUITES)}. Received: "
                f"{self.suite!r}.{hint}"
            )
        found += self._loss_mistakes()
        if self.surrogate is not None and not Path(self.surrogate).is_file():
            found.append(
                "Expected --surrogate to be the .keras file of a model. Received: "
                f"{self.surrogate!r}, which is not a file."
            )
        if self.epsilons is not None:
            found += self._curve_mistakes()
        found += self._corruption_mistakes()
        if subject is not None or self.data is not None:
            found += self._data_mistakes()
        return [*found, *self._strength_mistakes()]

    def prepare(self) -> None:
        """Import Keras and the module of the data set, and take the devices.

        Choose the backend before.

        Raises:
            ValueError: there are fewer devices, or they cannot share a batch equally.
        """
        from kmtard.backend import distribution

        devices = distribution.distribute(self.devices)
        if self.batch_size % devices:
            raise ValueError(_indivisible(self.batch_size, devices))
        registry.resolve("datasets", str(self.data))

    def execute(self, subject: Subject, watch: Callable[[Step], None]) -> Evaluation:
        """Evaluate the subject. Choose the backend before.

        Args:
            subject: what to evaluate.
            watch: called before each attack and after each batch. It may raise an
                exception to end the evaluation.

        Raises:
            RunError: a model or data cannot be read, or results cannot be written.
            ValueError: images or logits do not fit.
        """
        from kmtard.evaluation.evaluator import evaluate

        model, images = self._model_and_images(subject)
        return evaluate(
            model,
            images,
            epsilon=self.epsilon,
            save_images=self.save_images,
            watch=watch,
            **self._arguments(subject),
        )

    def execute_curve(
        self, subject: Subject, watch: Callable[[float, Step], None]
    ) -> list[Evaluation]:
        """Evaluate the subject at each radius of `epsilons`; otherwise as `execute`.

        Args:
            subject: what to evaluate.
            watch: called with the radius and the step.
        """
        from kmtard.evaluation.radii import curve

        model, images = self._model_and_images(subject)
        radii, arguments = self.epsilons or (), self._arguments(subject)
        return curve(model, images, radii, watch=watch, **arguments)

    def _model_and_images(self, subject: Subject) -> tuple[Any, Any]:
        from kmtard.evaluation.images import ImageSet
        from kmtard.training.build import load_test_split

        name = str(self.data)
        model = subject.load_model()
        test = load_test_split(name, self.directory, model, self.data_options)
        return model, ImageSet.of_split(image_set_name(name), test.limit(self.limit))

    def _arguments(self, subject: Subject) -> dict[str, Any]:
        """Return the arguments that `evaluate` and `curve` share."""
        commands = {"commands": [self.command]} if self.command else {}
        return {
            "attacks": self.attacks,
            "suite": self.suite,
            "step_size": self.step_size,
            "steps": self.steps,
            "norm": self.norm,
            "loss": registry.resolve("losses", self.loss) if self.loss else None,
            "surrogate": self._surrogate(subject),
            "corruptions": self.corruptions,
            "corruption_baseline": self.corruption_baseline,
            "headline": self.headline,
            "input_range": self.input_range or (0.0, 1.0),
            "seed": self.seed,
            "batch_size": self.batch_size,
            "folder": self.output or subject.folder,
            "own": self.own,
            "name": subject.name,
            "role": subject.role,
            "trained_accuracy": subject.trained_accuracy,
            "provenance": subject.provenance() | commands,
        }

    def _surrogate(self, subject: Subject) -> Any:
        names = (*self.attacks, *SUITES.get(self.suite or "", ()))
        if not any(map(needs_surrogate, names)):
            return None
        return load_model(Path(self.surrogate)) if self.surrogate else subject.teacher()

    def _loss_mistakes(self) -> list[str]:
        if self.loss is None:
            return []
        found = []
        try:
            registry.check("losses", self.loss)
        except registry.RegistryError as error:
            found.append(str(error))
        names = (*self.attacks, *SUITES.get(self.suite or "", ()))
        if not set(names) & set(OWN_LOSS):
            found.append(no_use_for_loss(names))
        return found

    def _data_mistakes(self) -> list[str]:
        if self.data is None:
            names = ", ".join(registry.DATASETS)
            return [
                "Expected --data, because a model file does not name its data set. "
                f"Give one of {names}."
            ]
        try:
            registry.check("datasets", self.data)
        except registry.RegistryError as error:
            return [str(error)]
        return []

    def _device_mistakes(self) -> list[str]:
        if self.devices != 1 and self.backend != "jax":
            return [
                "Expected --devices 1, because only the backend jax divides batches "
                f"among devices. Received: --devices {self.devices}, backend "
                f"{self.backend}. Add --backend jax, or leave out --devices."
            ]
        if isinstance(self.devices, int):
            if self.devices < 1:
                return [f"Expected --devices >= 1 or all. Received: {self.devices}."]
            if self.batch_size % self.devices:
                return [_indivisible(self.batch_size, self.devices)]
        return []

    def _curve_mistakes(self) -> list[str]:
        found = []
        radii = self.epsilons or ()
        if not any(radius > 0 for radius in radii):
            found.append(f"--epsilons needs a radius above 0. Received: {radii}.")
        for radius in radii:
            try:
                Strength(radius, norm=self.norm)
            except ValueError as error:
                found.append(f"--epsilons: {error}")
        if self.save_images:
            found.append(
                "--save-images needs one radius: images that are fooled at a smaller "
                "radius are not attacked at a larger one. Give --epsilon instead of "
                "--epsilons."
            )
        return found

    def _corruption_mistakes(self) -> list[str]:
        if self.corruptions is None:
            if self.corruption_baseline is None:
                return []
            return [
                "--corruption-baseline needs --corruptions. Received: "
                f"--corruption-baseline {self.corruption_baseline} alone."
            ]
        try:
            Corruptions.of(self.corruptions, self.corruption_baseline)
        except ValueError as error:
            return [f"--corruptions: {error}"]
        return []

    def _strength_mistakes(self) -> list[str]:
        try:
            Strength(self.epsilon, self.step_size, self.steps, self.norm)
        except ValueError as error:
            return [str(error)]
        return []


def _indivisible(batch_size: int, devices: int) -> str:
    return (
        f"Expected a multiple of {devices}, the number of devices that share each "
        f"batch equally. Received: --batch-size {batch_size}. Choose another batch "
        "size, or another number with --devices."
    )


def find_subject(
    path: str,
    *,
    trust: bool = False,
    weights: str | None = None,
    data: str | None = None,
) -> tuple[Subject | None, list[str]]:
    """Return the subject at a path, or None, and its mistakes; see `Subject.find`.

    Args:
        path: a run's folder, a .keras file, or the name of a model of RobustBench.
        trust: as in `Subject.find`.
        weights: file of the state dict, for a model of RobustBench.
        data: name of the data set, for a model of RobustBench.
    """
    try:
        if path.startswith(robustbench.PREFIX):
            return Subject.of_robustbench(path, weights, data), []
        if weights is not None:
            raise RunError(
                f"Expected --weights only with {robustbench.PREFIX}NAME, because "
                f"{path} contains its weights. Received: --weights {weights}."
            )
        return Subject.find(path, trust=trust), []
    # A recipe's mistakes are a ValueError.
    except (RunError, ValueError, registry.RegistryError) as error:
        return None, [str(error)]


def _of_recipe(recipe: Recipe) -> dict[str, Any]:
    evaluation = recipe.evaluation
    return {
        "attacks": evaluation.attacks,
        "suite": evaluation.suite,
        "headline": evaluation.headline,
        "data": recipe.data.name,
        "directory": recipe.data.directory,
        "data_options": recipe.data.options,
        "limit": evaluation.limit,
        "epsilon": evaluation.epsilon,
        "step_size": evaluation.step_size,
        "steps": evaluation.steps,
        "norm": evaluation.norm or recipe.attack.norm,
        "batch_size": recipe.data.batch_size,
        "seed": recipe.runtime.seed,
        "backend": recipe.runtime.backend,
        "devices": recipe.runtime.devices,
        "threads": recipe.runtime.threads,
    }
