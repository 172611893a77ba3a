"""Execute a recipe: train missing teachers, then the student, then evaluate them."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
from rich.progress import Progress as Bar

from kmtard import registry
from kmtard.backend import distribution
from kmtard.callbacks import ClassCallback
from kmtard.callbacks.rate import RateCallback
from kmtard.data.pipeline import (
    Split,
    TrainingStream,
    balanced_weights,
    evaluation_dataset,
)
from kmtard.evaluation.result import Evaluation
from kmtard.recipe import Recipe, Training
from kmtard.registry.roles import LABELS, TEACHERS, Role
from kmtard.runs import Run
from kmtard.runs.documents import number, table
from kmtard.runs.events import EventWriter
from kmtard.runs.files import (
    RunError,
    read_regular,
    remove_leftovers,
    replaced,
    write_atomic,
)
from kmtard.runs.intact import check_intact, sealed, unsealed
from kmtard.runs.phase import ACCURACIES, SELECTION
from kmtard.training.build import (
    SEED_OFFSETS,
    build_method,
    build_network,
    load_data,
    load_teacher,
)
from kmtard.training.callbacks import (
    BestStudent,
    DataEpoch,
    EventLog,
    Progress,
    RunState,
)
from kmtard.training.checks import check_teacher
from kmtard.training.evaluation import evaluate_run, transfers
from kmtard.training.schedules import EvaluationEpochs, learning_rates
from kmtard.training.split_file import SPLIT_FILE, keep_split
from kmtard.training.stopping import Stopped, StopSignal
from kmtard.training.teachers import cached_weights, check_accuracy, wait_for_turn
from kmtard.training.together import agreed_turn

DAY = 86400.0  # seconds


@dataclass
class Experiment:
    """One execution of a recipe in its run folder.

    Args:
        recipe: the resolved recipe.
        run: the run, which this process has claimed.
        stop: says whether to end early.
        line: called with each line of text for the user.
        bar: a started Rich progress bar, or None without a terminal.

    Attributes:
        seconds: role -> duration of its training in this process.

    Raises:
        RunError: the data set cannot be read.
    """

    recipe: Recipe
    run: Run
    stop: StopSignal
    line: Callable[[str], None]
    bar: Bar | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.events = EventWriter(self.run.events_path)
        self.data = load_data(self.recipe)
        data = self.recipe.data
        for note in self.data.notes:
            self.line(f"data: {note}")
        self.train_split, self.held_out = self.data.hold_out(data.held_out)
        keep_split(
            self.run.path / SPLIT_FILE,
            {
                "train": self.train_split,
                "held_out": self.held_out,
                "test": self.data.test,
            },
        )
        self.train_split = self.train_split.limit(data.limit)
        self.test = self.data.test.limit(self.recipe.evaluation.limit)

    def execute(self) -> Evaluation:
        """Train missing teachers and the student, then evaluate them.

        Returns:
            The evaluation that `evaluation.json` holds.

        Raises:
            Stopped: a signal was received. A checkpoint has been saved.
            RunError: a teacher cannot be read, or no epoch can be chosen.
            CheckpointError: no checkpoint of the run can be used.
            FloatingPointError: loss or weights are not finite.
        """
        needed = registry.positional("methods", self.recipe.method.name)
        evaluated = [*needed, *(["adv_teacher"] if transfers(self.recipe) else [])]
        roles = [role for role in TEACHERS if role in evaluated]
        loaded = {role: self._loaded(role) for role in roles if self._is_loaded(role)}
        self._try_building(roles, needed, loaded)
        networks: dict[str, Any] = {
            role: loaded.get(role) or self._trained(role) for role in roles
        }
        teachers = {role: networks[role] for role in networks if role in needed}
        keras.mixed_precision.set_dtype_policy(self.recipe.runtime.precision)
        student = build_network(self.recipe, "student", self.data)
        self._train("student", student, teachers, self.run.best / "student.keras")
        return self._evaluate({**networks, "student": student})

    def _evaluate(self, networks: dict[str, Any]) -> Evaluation:
        self.events.write("phase_started", phase="evaluation")
        return evaluate_run(
            self.recipe,
            self.run,
            networks,
            self.test,
            seconds=self.seconds,
            tell=lambda row: self.events.write(
                "evaluation", phase="evaluation", metrics=row
            ),
            between=self.stop.check,
        )

    def _is_loaded(self, role: Role) -> bool:
        return getattr(self.recipe, role).weights is not None

    def _loaded(self, role: Role) -> Any:
        """Return a teacher from its file, before any other one is trained."""
        weights = getattr(self.recipe, role).weights
        self.line(f"{LABELS[role]}: weights from {weights}")
        network = load_teacher(self.recipe, role, self.data, self.line)
        check_teacher(role, network, self.train_split, repr(weights))
        if line := check_accuracy(self.recipe, role, network, self.train_split):
            self.line(line)
        return network

    def _try_building(
        self, roles: Sequence[Role], needed: Sequence[str], loaded: dict[Role, Any]
    ) -> None:
        """Build everything to be trained, to find mistakes before training."""
        shape = (None, *self.data.input_shape)
        teachers: dict[Role, Any] = {}
        for role in roles:
            if role not in loaded:
                keras.mixed_precision.set_dtype_policy(self.recipe.runtime.precision)
                teachers[role] = build_network(self.recipe, role, self.data, self.line)
                training = self.recipe.training(role)
                build_method(self.recipe, training, teachers[role], {})[0].build(shape)
        keras.mixed_precision.set_dtype_policy(self.recipe.runtime.precision)
        student = build_network(self.recipe, "student", self.data, self.line)
        taught = {r: each for r, each in (teachers | loaded).items() if r in needed}
        training = self.recipe.training("student")
        build_method(self.recipe, training, student, taught)[0].build(shape)
        keras.mixed_precision.set_dtype_policy("float32")

    def _trained(self, role: Role) -> Any:
        """Return a teacher that is trained now or was trained earlier."""
        cached = cached_weights(self.recipe, role)
        if not agreed_turn(
            cached,
            self.stop.check,
            lambda check: wait_for_turn(cached, role, check, self.line),
        ):
            self.line(f"{LABELS[role]}: already trained, weights from {cached}")
            self._tell_cached(role, _figures_path(cached))
        else:
            keras.mixed_precision.set_dtype_policy(self.recipe.runtime.precision)
            best = self.run.best / f"{role}.weights.h5"
            network = build_network(self.recipe, role, self.data)
            self._train(role, network, {}, best)
            check_teacher(role, network, self.train_split, "this training")
            self._cache(role, best, cached)
        keras.mixed_precision.set_dtype_policy("float32")
        network = build_network(self.recipe, role, self.data)
        check_intact(cached, "Delete it; this teacher is then trained again.")
        network.load_weights(cached)
        check_teacher(role, network, self.train_split, repr(str(cached)))
        return network

    def _cache(self, role: Role, best: Path, cached: Path) -> None:
        folder = cached.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"Cannot create {folder}: {error.strerror}. Choose another folder with "
                "runtime.cache_dir."
            ) from error
        # Runs share the cache: another one may be writing there.
        remove_leftovers(folder, of=cached.name, older_than=DAY)
        write_atomic(_figures_path(cached), json.dumps(sealed(self._figures(role))))
        with replaced(cached) as temporary:
            shutil.copyfile(best, temporary)

    def _figures(self, role: Role) -> dict[str, Any]:
        """Return the best epoch's accuracies, as a row; empty if unknown."""
        # The events may be damaged, but only the weights are needed.
        rows = (
            {name: number(table(event, "metrics").get(name)) for name in ACCURACIES}
            for event in self.run.events().poll()
            if event.get("event") == "epoch" and event.get("phase") == role
        )
        known = [row for row in rows if None not in row.values()]
        if not known:
            return {}
        best = max(known, key=lambda row: row["w_robust_accuracy"] or 0)
        attacked = ("robust_accuracy", "w_robust_accuracy")
        return {
            "role": role,
            "clean_accuracy": best["clean_accuracy"],
            **{name: {SELECTION: best[name]} for name in attacked},
            "headline": SELECTION,
        }

    def _tell_cached(self, role: Role, path: Path) -> None:
        # Caches of earlier versions have no accuracies.
        with contextlib.suppress(OSError, ValueError, RecursionError):
            if figures := table(unsealed(json.loads(read_regular(path)))):
                self.events.write("evaluation", phase=role, metrics=figures)

    def _train(
        self, role: Role, network: Any, teachers: dict[str, Any], best: Path
    ) -> None:
        self.stop.check()
        began = time.monotonic()
        training = self.recipe.training(role)
        weights = None
        if self.recipe.data.class_weights == "balanced":
            weights = balanced_weights(self.train_split.labels, self.data.num_classes)
        stream = TrainingStream(
            self.train_split,
            batch_size=self.recipe.data.batch_size,
            seed=self.recipe.runtime.seed + SEED_OFFSETS[role],
            pad=self.recipe.data.pad,
            flip=self.recipe.data.flip,
            class_weights=weights,
        )
        steps, epochs = stream.steps_per_epoch, training.schedule.epochs
        model, driving = self._method(training, network, teachers, steps)
        keeper = BestStudent(best, replaced)
        state = RunState(
            self.run.checkpoints / role,
            write_atomic if distribution.process().writes else _nowhere,
            steps,
            {"best": keeper},
            stop_if_not_finite=self.recipe.runtime.on_non_finite == "stop",
            warn=self._warn,
        )
        done = state.restore(model)
        keeper.check(model)
        self.events.write(
            "phase_started",
            phase=role,
            step=done,
            epochs=epochs,
            steps=steps,
            images=self._images(),
        )
        progress = Progress(self.bar, self.line, LABELS[role], epochs, steps)
        callbacks = [
            DataEpoch(stream),
            keras.callbacks.LearningRateScheduler(learning_rates(training, model)),
            *driving,
            keeper,
            progress,
            EventLog(self.events, role, steps),
            state,
        ]
        self._fit(model, stream, done, training, callbacks)
        progress.close()
        self._load_best(role, keeper, model)
        self.seconds[role] = time.monotonic() - began

    def _warn(self, text: str) -> None:
        self.events.write("warning", message=text)
        self.line(f"warning: {text}")

    def _method(
        self, training: Training, network: Any, teachers: dict[str, Any], steps: int
    ) -> tuple[Any, list]:
        model, driving = build_method(self.recipe, training, network, teachers)
        for callback in driving:
            if isinstance(callback, RateCallback):
                callback.milestones = training.schedule.milestones
                callback.factor = training.schedule.factor
            if isinstance(callback, ClassCallback):
                callback.steps_per_epoch = steps
        model.optimizer.build(model.trainable_variables)
        return model, driving

    def _fit(
        self,
        model: Any,
        stream: TrainingStream,
        done: int,
        training: Training,
        callbacks: list,
    ) -> None:
        steps, epochs = stream.steps_per_epoch, training.schedule.epochs
        validation = evaluation_dataset(self._chosen(), self.recipe.data.batch_size)

        def cut_short() -> bool:
            return self.stop.requested and int(model.steps_taken.value) % steps > 0

        # Keras resets `stop_training` at the beginning of each `fit`.
        watch = keras.callbacks.LambdaCallback(
            on_train_begin=lambda logs: self.stop.watch(model),
            on_train_batch_end=lambda batch, logs: self.stop.batch_ended(),
        )
        # Keras assumes that all epochs of a `fit` are as long as the first one. The
        # rest of an epoch that a stop cut short therefore gets its own `fit`.
        first = done // steps
        spans = [(first, first + 1, done % steps), (first + 1, epochs, 0)]
        for begin, end, skip in spans if done % steps else [(first, epochs, 0)]:
            if begin < end:
                self.stop.check()
                with stream.dataset(skip) as batches, validation:
                    model.fit(
                        batches,
                        initial_epoch=begin,
                        epochs=end,
                        validation_data=validation,
                        validation_freq=EvaluationEpochs(training, cut_short),
                        callbacks=[watch, *callbacks],
                        shuffle=False,
                        verbose=0,
                    )
        if int(model.steps_taken.value) < epochs * steps:
            raise Stopped

    def _chosen(self) -> Split:
        """Return the images on which the best epoch is chosen."""
        if self.recipe.evaluation.selection == "held_out" and self.held_out is not None:
            return self.held_out.limit(self.recipe.evaluation.limit)
        return self.test

    def _images(self) -> dict[str, int]:
        splits = {"train": self.train_split, "epoch": self._chosen(), "test": self.test}
        return {name: len(split) for name, split in splits.items()}

    def _load_best(self, role: str, keeper: BestStudent, model: Any) -> None:
        if keeper.state["score"] is None:
            raise RunError(
                f"Expected at least one epoch of the {LABELS[role]} with a finite "
                "W-Robust accuracy, which selects the best epoch. All values were NaN "
                "or inf. Check the losses above."
            )
        keeper.restore(model)
        self.line(
            f"{LABELS[role]}: best epoch {keeper.state['epoch']}, W-Robust "
            f"{100 * keeper.state['score']:.2f} % on "
            f"{self.recipe.evaluation.selection.replace('_', '-')} images"
        )


def _nowhere(path: Path, data: bytes) -> None:
    """Write nothing: the first process has the checkpoints."""


def _figures_path(cached: Path) -> Path:
    return cached.with_name(cached.name.replace(".weights.h5", ".json"))
