"""`harden`: from a Keras file and images to a robust Keras file and a report."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
from rich.progress import Progress as Bar

from kmtard import registry
from kmtard.attacks.classifier import Classifier
from kmtard.data.pipeline import DataSet
from kmtard.evaluation.evaluator import evaluate
from kmtard.hardening.examination import Examination, Tell, examine
from kmtard.hardening.files import Pair
from kmtard.hardening.plan import (
    FEWEST_EPOCHS,
    HOUR,
    Request,
    epochs_for,
    measure,
    planned,
    recipe_of,
)
from kmtard.hardening.tries import choose, steps_for
from kmtard.networks import own_model
from kmtard.networks.interface import interface_of
from kmtard.recipe import Recipe, settings_key
from kmtard.recipe.identity import file_digest
from kmtard.registry import label
from kmtard.report import page, source
from kmtard.report.sections import hardening as sections
from kmtard.runs import Run, RunError
from kmtard.runs.files import write_atomic
from kmtard.runs.intact import sealed
from kmtard.training import execution
from kmtard.training.build import load_data
from kmtard.training.measuring import measured
from kmtard.training.startup import begin
from kmtard.training.stopping import Stopped, StopSignal
from kmtard.training.subject import load_model

MODEL_FILE = "hardened.keras"
FACTS_FILE = sections.FACTS_FILE
REPORT_FILE = "hardening.html"
SHARES = (0.25, 0.5, 0.75)
"""Shares of the student's weights in the mixtures with the given model's."""

COMPARED_IMAGES = 128
IMAGE_FOLDER = "image_folder"


@dataclass(frozen=True)
class Hardened:
    """The result of a hardening.

    Attributes:
        model: the hardened model's `.keras` file.
        report: the HTML file.
        run: the folder of the run, with its recipe.
        before: "clean", "robust" and "w_robust" accuracy of the given model, in [0, 1],
            on the test images.
        after: the same of the hardened model.
    """

    model: Path
    report: Path
    run: Path
    before: Mapping[str, float]
    after: Mapping[str, float]


def harden(
    model: Any,
    data: str | os.PathLike[str],
    *,
    epsilon: float = 4 / 255,
    adv_teacher: str | os.PathLike[str] | None = None,
    hours: float = 2.0,
    data_options: Mapping[str, Any] | None = None,
    input_range: tuple[float, float] | None = None,
    class_weights: str | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    runs_dir: str | os.PathLike[str] = "runs",
    overrides: Sequence[str] = (),
    tell: Tell = print,
) -> Hardened:
    """Harden a trained Keras classifier against small changes of its images.

    The model is the clean teacher and the student's start. The robust teacher has the
    same architecture and is trained from the same weights by TRADES or SAT, whichever
    is better in short tries. B-MTARD distills both. The result takes and returns what
    the given model does.

    Args:
        model: a `.keras` file, or a Keras model.
        data: a folder of images or a CSV file, see `kmtard.data.image_folder`; an
            `.npz` file; or the name of a registered data set.
        epsilon: largest change of a pixel, for images in [0, 1].
        adv_teacher: `.keras` file of a robust teacher; None trains it.
        hours: time for everything. The epochs are chosen from measured steps.
        data_options: options of the data set, such as `{"skip_broken": True}`. Images
            are brought to the size that the model takes.
        input_range: (low, high) of the model's images; None finds it.
        class_weights: "balanced" lets all classes count equally.
        batch_size: images per step; chosen by the number of images if None.
        seed: seed of the run.
        runs_dir: folder for the folder of the run.
        overrides: changes of the recipe, such as "optimizer.learning_rate=0.003".
        tell: called with each line about the progress.

    Raises:
        RunError: the model or the images cannot be used.
        RecipeError: an override is wrong.

    Example:
    ```py
    import kmtard

    found = kmtard.harden("model.keras", "photos/", epsilon=8 / 255, hours=0.5)
    print(found.before["w_robust"], found.after["w_robust"], found.model)
    ```
    """
    work = Work.prepare(
        model,
        data,
        epsilon=epsilon,
        adv_teacher=adv_teacher,
        hours=hours,
        data_options=data_options,
        input_range=input_range,
        class_weights=class_weights,
        batch_size=batch_size,
        seed=seed,
        runs_dir=runs_dir,
        overrides=overrides,
        tell=tell,
    )
    run = work.create({"backend": keras.config.backend()})
    return work.carry_out(run, tell)


@dataclass(frozen=True)
class Work:
    """A hardening that is ready to start or to continue.

    Attributes:
        recipe: the recipe, with its epochs.
        path: the given model's file.
        input_range: (low, high) of its images.
        lines: what was found out about the model and decided, for the report.
        epsilon: largest change of a pixel.
        name: name for the run.
    """

    recipe: Recipe
    path: Path
    input_range: tuple[float, float]
    lines: tuple[str, ...]
    epsilon: float
    name: str

    @classmethod
    def prepare(
        cls,
        model: Any,
        data: str | os.PathLike[str],
        *,
        epsilon: float,
        adv_teacher: str | os.PathLike[str] | None,
        hours: float,
        data_options: Mapping[str, Any] | None,
        input_range: tuple[float, float] | None,
        class_weights: str | None,
        batch_size: int | None,
        seed: int,
        runs_dir: str | os.PathLike[str],
        overrides: Sequence[str],
        tell: Tell,
    ) -> Work:
        """Examine the model, measure a few steps, and write the recipe.

        Args and errors are those of `harden`.
        """
        began = time.monotonic()
        _check_numbers(epsilon, hours)
        path = _model_file(model, Path(runs_dir))
        name, directory, options = _images(str(data), dict(data_options or {}), path)
        request = Request(
            model=str(path),
            data=name,
            directory=directory,
            data_options=options,
            epsilon=epsilon,
            adv_teacher=None if adv_teacher is None else str(adv_teacher),
            input_range=input_range,
            batch_size=batch_size,
            class_weights=class_weights,
            seed=seed,
            backend=keras.config.backend(),
            runs_dir=str(runs_dir),
            overrides=tuple(overrides),
        )
        images = _loaded(request)
        found = examine(path, images, input_range)
        tell(f"{path}:")
        for line in found.lines:
            tell(f"  {line}")
        tell(f"{len(images.train)} training and {len(images.test)} test images")
        mirrors = found.interface.mirrors
        # What the layers do not show must not be found anew in each part of the run.
        if found.interface.input_range is None and input_range is None:
            request = _with_range(request, found)
        first = recipe_of(request, images, mirrors=mirrors)
        pace = measure(first, images, tell)
        robust = "adv_teacher"
        if robust in pace.step and request.tries_strength:
            steps = steps_for(HOUR * hours, pace.first[robust], pace.step[robust])
            if steps:
                strength = choose(first, images, steps, tell)
                request = replace(request, strength=strength)
        spent = time.monotonic() - began
        epochs = epochs_for(pace, HOUR * hours - spent)
        recipe = planned(request, images, epochs, steps=pace.steps, mirrors=mirrors)
        planned_lines = _plan_lines(recipe, hours)
        if min(epochs.values()) <= FEWEST_EPOCHS:
            planned_lines.append(
                f"the time allows {FEWEST_EPOCHS} epochs or fewer, which are too few "
                "for a good result: give more --hours"
            )
        for line in planned_lines:
            tell(line)
        key = settings_key(recipe)[:4]
        return cls(
            recipe,
            path,
            found.input_range,
            (*found.lines, *planned_lines),
            epsilon,
            f"harden-s{seed}-{key}-{path.stem}",
        )

    @classmethod
    def of_run(cls, run: Run, recipe: Recipe) -> Work:
        """Return the hardening that a run began.

        Raises:
            RunError: it is no run of a hardening, or the given model has changed.
        """
        facts = sections.read_facts(run)
        if not facts:
            raise RunError(
                f"Expected a run of `kmtard harden`. Received: {run.path}, which has "
                f"no {FACTS_FILE}. Continue it with `kmtard fit --resume {run.path}`."
            )
        path = Path(str(facts["model"]))
        if file_digest(str(path)) != facts["digest"]:
            raise RunError(
                f"Expected {path} as it was when {run.path} began. It was changed or "
                "removed. Restore the file, or start anew."
            )
        low, high = facts["input_range"]
        lines = tuple(map(str, facts["lines"]))
        return cls(recipe, path, (low, high), lines, float(facts["epsilon"]), run.name)

    def create(self, details: Mapping[str, Any]) -> Run:
        """Create the folder of the run."""
        runs_dir = self.recipe.runtime.runs_dir
        run = Run.create(runs_dir, self.name, self.recipe.to_toml(), details)
        self._write_facts(run, [])
        return run

    def carry_out(self, run: Run, tell: Tell, bar: Bar | None = None) -> Hardened:
        """Train, evaluate, and write the model and the report.

        Raises:
            Stopped: a signal was received; `of_run` continues the run.
            RunError: a part cannot be read or written.
        """
        finished = run.state() == "finished"
        events = begin(self.recipe, run, tell) if not finished else None
        try:
            if events is not None:
                with StopSignal() as stop, measured(events, tell):
                    evaluation = execution.train(self.recipe, run, stop, tell, bar)
            result = self.write(run, tell)
            if events is not None:
                execution.finish(run, events, evaluation)
        except Stopped:
            if events is not None:
                events.write("run_stopped")
            raise
        except Exception as error:
            if events is not None:
                events.write("run_failed", reason=f"{type(error).__name__}: {error}")
            raise
        return result

    def write(self, run: Run, tell: Tell) -> Hardened:
        """Write the hardened model, its mixtures and the report of a trained run."""
        data = load_data(self.recipe)
        pair = Pair(self.path, data.input_shape, self.input_range)
        student = load_model(run.best / "student.keras")
        pair.become(student)
        arrays = pair.arrays()
        test = data.test.limit(self.recipe.evaluation.limit)
        images = test.images[:COMPARED_IMAGES].astype("float32") / 255
        target = run.path / MODEL_FILE
        pair.write(target, images)
        tell(f"hardened model: {target}")
        points = []
        # One classifier, so that its attack is compiled once.
        mixture = Classifier(pair.network)
        for share in SHARES:
            pair.mix(arrays, share)
            points.append(self._measured(mixture, test, share))
            place = run.path / f"mixture-{100 * share:.0f}.keras"
            pair.write(place, images)
            tell(
                f"{share:.0%} of the hardened weights: clean "
                f"{points[-1]['clean']:.1%}, robust {points[-1]['robust']:.1%}: {place}"
            )
        weights = run.best / "adv_teacher.weights.h5"
        teacher = self.recipe.adv_teacher
        if teacher is not None and teacher.train and weights.exists():
            # It has the network of the student.
            student.load_weights(weights)
            pair.become(student)
            pair.write(run.path / sections.TEACHER_FILE, images)
            tell(f"robust teacher: {run.path / sections.TEACHER_FILE}")
        self._write_facts(run, points)
        before, after = sections.accuracies(run)
        report = run.path / "report" / REPORT_FILE
        report.parent.mkdir(exist_ok=True)
        found = source.read([run.path])
        title = f"Hardening of {self.path.name}"
        built = sections.build(found, sections.read_facts(run))
        write_atomic(report, page.to_html(title, sections.lead(before, after), built))
        tell(f"report: {report}")
        return Hardened(target, report, run.path, before, after)

    def _measured(self, model: Any, test: Any, share: float) -> dict[str, float]:
        settings = self.recipe.evaluation
        found = evaluate(
            model,
            test,
            attacks=[settings.headline],
            epsilon=settings.epsilon or self.epsilon,
            step_size=settings.step_size,
            steps=settings.steps,
            norm=settings.norm or "linf",
            batch_size=self.recipe.data.batch_size,
            seed=self.recipe.runtime.seed,
        )
        robust = found.robust_accuracy[settings.headline]
        return {"share": share, "clean": found.clean_accuracy, "robust": robust}

    def _write_facts(self, run: Run, points: list[dict[str, float]]) -> None:
        facts = {
            "model": str(self.path),
            "digest": file_digest(str(self.path)),
            "input_range": list(self.input_range),
            "epsilon": self.epsilon,
            "lines": list(self.lines),
            "points": points,
        }
        write_atomic(run.path / FACTS_FILE, json.dumps(sealed(facts), indent=1))


def _check_numbers(epsilon: float, hours: float) -> None:
    if not 0 < epsilon <= 1:
        raise RunError(
            "Expected epsilon above 0 and at most 1, for images in [0, 1], such as "
            f"4/255. Received: {epsilon:g}."
        )
    if not 0 < hours < 10_000:
        raise RunError(f"Expected hours above 0. Received: {hours:g}.")


def _model_file(model: Any, runs_dir: Path) -> Path:
    """Return the file of a model, which is saved first if it is an object.

    Raises:
        RunError: it is neither a model nor a `.keras` file.
    """
    if isinstance(model, keras.Model):
        folder = runs_dir / "given"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{model.name}-{time.strftime('%Y%m%d-%H%M%S')}.keras"
            model.save(path)
        except (OSError, TypeError, ValueError) as error:
            raise RunError(f"Cannot save the given model: {error}") from error
        return path
    if not isinstance(model, (str, os.PathLike)):
        raise RunError(
            "Expected a Keras model or the path of a .keras file. Received: "
            f"{type(model).__name__}."
        )
    path = Path(model).expanduser()
    if path.suffix != ".keras" or not path.is_file():
        state = "which does not exist" if not path.exists() else "which is not one"
        raise RunError(
            f"Expected a .keras file of a trained model. Received: {path}, {state}. "
            "Save yours with model.save('model.keras')."
        )
    return path


def _images(
    data: str, options: dict[str, Any], path: Path
) -> tuple[str, str | None, dict[str, Any]]:
    """Return name, directory and options of the data set.

    Raises:
        RunError: there is neither a folder nor a data set of this name.
    """
    place = Path(data).expanduser()
    if not place.exists():
        if registry.canonical("datasets", data) in registry.DATASETS:
            return registry.canonical("datasets", data), None, options
        raise RunError(
            "Expected --data to be a folder of images, a CSV file, an .npz file or one "
            f"of {', '.join(registry.DATASETS)}. Received: {data!r}, which does not "
            "exist."
        )
    if place.suffix == ".npz":
        return "npz", str(place), options
    if "size" not in options or "color" not in options:
        try:
            height, width, channels = interface_of(own_model.load(path)).shape
        except ValueError as error:
            raise RunError(str(error)) from error
        if height and width:
            options.setdefault("size", [height, width])
        if channels in (1, 3):
            options.setdefault("color", "grey" if channels == 1 else "color")
    return IMAGE_FOLDER, str(place), options


def _loaded(request: Request) -> DataSet:
    """Return the images. Only they are needed to write the recipe."""
    make = registry.resolve("datasets", request.data)
    options = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in request.data_options.items()
    }
    try:
        data = make(request.directory, **options)
    except (TypeError, ValueError) as error:
        raise RunError(f"The images cannot be read: {error}") from error
    if not isinstance(data, DataSet):
        raise RunError(f"Expected {request.data} to return a DataSet.")
    return data


def _with_range(request: Request, found: Examination) -> Request:
    return replace(request, input_range=found.input_range)


def _plan_lines(recipe: Recipe, hours: float) -> list[str]:
    lines = []
    teacher = recipe.adv_teacher
    if teacher is not None and teacher.train:
        epochs = recipe.training("adv_teacher").schedule.epochs
        name = label(recipe.training("adv_teacher").method).upper()
        lines.append(f"robust teacher: {name} from these weights, {epochs} epochs")
    elif teacher is not None:
        lines.append(f"robust teacher: {teacher.weights}")
    lines.append(
        f"student: B-MTARD from these weights, {recipe.schedule.epochs} epochs, within "
        f"{hours:.3g} hours"
    )
    return lines
