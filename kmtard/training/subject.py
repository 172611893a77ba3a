"""The model that a command line names: a run's student, a file, or RobustBench's.

Nothing here imports Keras before a model is loaded, because its backend must be chosen
first.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kmtard import registry
from kmtard.recipe import Recipe, load, teacher_key
from kmtard.registry import robustbench
from kmtard.registry.roles import LABELS
from kmtard.runs import Run, RunError
from kmtard.runs.files import whole_hdf5
from kmtard.runs.history import History
from kmtard.runs.intact import check_intact, sha256_of
from kmtard.runs.results import MODEL

LONGEST_REASON = 500
"""Longest part of a Keras error that is shown, in characters."""


@dataclass(frozen=True)
class Subject:
    """The model to evaluate or export: a run's student, or the model in a file.

    Attributes:
        path: the run's folder, or the file; for a model of RobustBench, that of its
            weights.
        run: the run; None for a file.
        recipe: the run's recipe; None for a file.
        entry: the entry of RobustBench whose weights are in the file; None for others.
    """

    path: Path
    run: Run | None = None
    recipe: Recipe | None = None
    entry: robustbench.Entry | None = None

    @classmethod
    def of_robustbench(
        cls, name: str, weights: str | None, data: str | None = None
    ) -> Subject:
        """Return the subject for a model of RobustBench.

        Args:
            name: its name, such as `robustbench:Standard`.
            weights: path of its state dict.
            data: name of the data set, where the name is that of several models.

        Raises:
            RunError: the file is not given or does not exist.
            RegistryError: RobustBench has no such model, or it is refused.
        """
        sets = robustbench.CLASSES
        entry = robustbench.find(name, data if data in sets else None)
        if weights is None or not Path(weights).is_file():
            given = (
                "no --weights" if weights is None else f"{weights}, which is no file"
            )
            raise RunError(
                f"Expected --weights FILE with the state dict of {entry.name}, as "
                f"RobustBench publishes it. It keeps it in models/{entry.key}.pt. "
                f"Received: {given}."
            )
        return cls(Path(weights), entry=entry)

    @classmethod
    def find(cls, path: str, *, trust: bool = False) -> Subject:
        """Return the subject at a path.

        Args:
            path: a run's folder or a .keras file.
            trust: whether the recipe may name code even if the run is not the user's
                own.

        Raises:
            RunError: it is neither a run's folder nor a .keras file.
            RecipeError: the run's recipe is wrong, or names code without trust.
        """
        place = Path(path)
        if place.is_dir():
            run = Run.open(place)
            foreign = None if trust else run.foreign_reason()
            return cls(place, run, load(run.recipe_path, foreign=foreign))
        if place.is_file() and place.suffix == ".keras":
            return cls(place)
        if place.is_file() and place.suffix in (".h5", ".hdf5"):
            raise RunError(whole_hdf5(path))
        raise RunError(
            f"Expected the folder of a run or a .keras file. Received: {path}, "
            + ("which is neither." if place.exists() else "which does not exist.")
        )

    @property
    def folder(self) -> Path:
        """Folder for the results."""
        return self.path if self.run else self.path.with_suffix(".evaluation")

    @property
    def role(self) -> str:
        """The role of the model in its run."""
        return "student" if self.run else MODEL

    @property
    def name(self) -> str:
        """The model's name in an evaluation."""
        if self.entry is not None:
            return self.entry.name
        return network_name(self.run, self.role) if self.run else str(self.path)

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of an evaluation that a model of RobustBench brings."""
        return self.entry.settings if self.entry else {}

    @property
    def file(self) -> Path:
        """The file of the model."""
        return self.run.best / "student.keras" if self.run else self.path

    def provenance(self) -> dict[str, Any]:
        """Return the model's file and its SHA-256, for the record of an evaluation.

        For a model of RobustBench, the published numbers are added.
        """
        found: dict[str, Any] = {"file": str(self.file)}
        if self.entry is not None:
            found["published"] = self.entry.published
        return {**found, "sha256": sha256_of(self.file)}

    @property
    def trained_accuracy(self) -> float | None:
        """Clean accuracy of the run's best epoch, or as published; None for a file."""
        if self.entry is not None and self.entry.clean is not None:
            return self.entry.clean / 100
        return trained_accuracy(self.run, self.role) if self.run else None

    def load_model(self) -> Any:
        """Return the Keras model. For a saved method, return its student.

        The modules that the run's recipe names are imported first, so that Keras knows
        their layers.

        Raises:
            RunError: the model does not exist yet or cannot be read.
        """
        if self.recipe is not None:
            registry.resolve("networks", self.recipe.student.network)
            registry.resolve("methods", self.recipe.method.name)
        if self.entry is not None:
            return _load_entry(self.entry, self.path)
        return load_model(self.file)

    @property
    def has_teacher(self) -> bool:
        """Whether the recipe has a robust teacher."""
        return self.recipe is not None and self.recipe.adv_teacher is not None

    def teacher(self) -> Any:
        """Return the run's robust teacher; None if the recipe has none.

        Raises:
            RunError: its weights do not exist or cannot be read.
        """
        import keras

        from kmtard.training.build import build_network, load_data, load_teacher

        recipe, run = self.recipe, self.run
        if recipe is None or run is None or recipe.adv_teacher is None:
            return None
        data = load_data(recipe)
        if recipe.adv_teacher.weights is not None:
            return load_teacher(recipe, "adv_teacher", data)
        key = teacher_key(recipe, "adv_teacher")
        cached = Path(recipe.runtime.cache_dir) / f"adv_teacher-{key}.weights.h5"
        places = [run.best / "adv_teacher.weights.h5", cached]
        found = next((place for place in places if place.exists()), None)
        if found is None:
            raise RunError(
                "Expected the weights of the robust teacher, on which images for "
                f"transfer attacks are crafted, in {' or '.join(map(str, places))}. "
                "Give another model with --surrogate."
            )
        keras.mixed_precision.set_dtype_policy("float32")
        network = build_network(recipe, "adv_teacher", data)
        check_intact(found, "Restore a copy, or name another --surrogate.")
        network.load_weights(found)
        return network


def trained_accuracy(run: Run, role: str) -> float | None:
    """Return the clean accuracy of a network's best epoch, in [0, 1].

    The result is None if the events do not contain it, for example for a teacher that
    was read from a file.
    """
    history = History(run, in_detail=False)
    history.poll()
    best = history.best(role)
    return best.clean if best else None


def network_name(run: Run, role: str) -> str:
    """Return the name of a run's network in an evaluation."""
    return f"{LABELS.get(role, role)} of {run.name}"


def image_set_name(data: str) -> str:
    """Return the name of a data set's test images in an evaluation."""
    return f"{data} (test)"


def load_model(path: Path) -> Any:
    """Return the Keras model in a .keras file. For a saved method, return its student.

    Raises:
        RunError: the file cannot be read.
    """
    import keras

    from kmtard.methods import AdversarialModel

    # Opening a pipe would block, and Keras does not check the checksums.
    check_intact(path, "Expected a Keras model; put a good copy in its place.")
    try:
        model = keras.models.load_model(path, compile=False)
    except Exception as error:  # the model's own classes can raise anything
        raise RunError(
            f"Expected a Keras model in {path}, which cannot be loaded: "
            f"{_reason(error)}"
        ) from error
    return model.student if isinstance(model, AdversarialModel) else model


def _load_entry(entry: robustbench.Entry, path: Path) -> Any:
    from kmtard.networks.robustbench import load

    try:
        return load(entry, path)
    except (ImportError, OSError, ValueError) as error:
        raise RunError(f"Cannot load {entry.name}: {error}") from error


def _reason(error: Exception) -> str:
    """Return why Keras cannot load a model, without the model's whole configuration."""
    text = str(error).rpartition("Exception encountered: ")[2]
    for configuration in ("Full object config", "\n\nconfig=", "config={"):
        text = text.partition(configuration)[0]
    text = " ".join(text.split())
    if len(text) > LONGEST_REASON:
        text = f"{text[:LONGEST_REASON]} ..."
    if "Could not locate" in text:
        name = text.partition("'")[2].partition("'")[0]
        return (
            f"it uses {name}, a class or function that is not part of Keras. Give "
            "--import MODULE with the module that defines it and registers it with "
            "@keras.saving.register_keras_serializable()."
        )
    return text or type(error).__name__
