"""The model that a command line names: of a run, or of a file.

Nothing here imports Keras before a model is loaded: its backend must be chosen first.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kmtard import registry
from kmtard.recipe import Recipe, load, teacher_key
from kmtard.registry.roles import LABELS
from kmtard.runs import Run, RunError
from kmtard.runs.files import whole_hdf5
from kmtard.runs.history import History
from kmtard.runs.intact import check_intact
from kmtard.runs.results import MODEL

LONGEST_REASON = 500
"""Characters of an error of Keras that are shown."""


@dataclass(frozen=True)
class Subject:
    """A run's student, or the model of a file.

    Attributes:
        path: of the run's folder or of the file.
        run: None where a file was named.
        recipe: of the run.
    """

    path: Path
    run: Run | None = None
    recipe: Recipe | None = None

    @classmethod
    def find(cls, path: str, *, trust: bool = False) -> Subject:
        """Return what stands at a path.

        Args:
            path: a run's folder or a .keras file.
            trust: whether the recipe of a stranger's run may name code.

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
        """Where the results belong."""
        return self.path if self.run else self.path.with_suffix(".evaluation")

    @property
    def role(self) -> str:
        """The role of the model in its run."""
        return "student" if self.run else MODEL

    @property
    def name(self) -> str:
        """What an evaluation calls the model."""
        return network_name(self.run, self.role) if self.run else str(self.path)

    @property
    def trained_accuracy(self) -> float | None:
        """The clean accuracy of the run's best epoch; None for a file."""
        return trained_accuracy(self.run, self.role) if self.run else None

    def load_model(self) -> Any:
        """Return the Keras model; of a saved method, its student.

        The modules that the run's recipe names are imported before, so that Keras
        finds their layers.

        Raises:
            RunError: it is not there yet, or cannot be read.
        """
        if self.recipe is not None:
            registry.resolve("networks", self.recipe.student.network)
            registry.resolve("methods", self.recipe.method.name)
        return load_model(self.run.best / "student.keras" if self.run else self.path)

    @property
    def has_teacher(self) -> bool:
        """Whether the recipe has a robust teacher."""
        return self.recipe is not None and self.recipe.adv_teacher is not None

    def teacher(self) -> Any:
        """Return the run's robust teacher; None where the recipe has none.

        Raises:
            RunError: its weights are not there, or cannot be read.
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
                "Expected the weights of the robust teacher, to transfer images from, "
                f"in {' or '.join(map(str, places))}. Name another with --surrogate."
            )
        keras.mixed_precision.set_dtype_policy("float32")
        network = build_network(recipe, "adv_teacher", data)
        check_intact(found, "Put a copy in its place, or name another --surrogate.")
        network.load_weights(found)
        return network


def trained_accuracy(run: Run, role: str) -> float | None:
    """Return the clean accuracy of a network's best epoch, in [0, 1].

    It is None where the run's events do not tell, as of a teacher from a file.
    """
    history = History(run, in_detail=False)
    history.poll()
    best = history.best(role)
    return best.clean if best else None


def network_name(run: Run, role: str) -> str:
    """Return what an evaluation calls a network of a run."""
    return f"{LABELS.get(role, role)} of {run.name}"


def image_set_name(data: str) -> str:
    """Return what an evaluation calls the test images of a data set."""
    return f"{data} (test)"


def load_model(path: Path) -> Any:
    """Return the Keras model of a .keras file; of a saved method, its student.

    Raises:
        RunError: it cannot be read.
    """
    import keras

    from kmtard.methods import AdversarialModel

    # A pipe would block whoever opens it, and Keras does not look at checksums.
    check_intact(path, "Expected a Keras model; put a good copy in its place.")
    try:
        model = keras.models.load_model(path, compile=False)
    except Exception as error:  # what code in a model's classes raises, too
        raise RunError(f"Expected a Keras model in {path}: {_reason(error)}") from error
    return model.student if isinstance(model, AdversarialModel) else model


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
            f"{name} is a class or function of its author's own. Give --import MODULE "
            "with the module that defines it under "
            "@keras.saving.register_keras_serializable()."
        )
    return text or type(error).__name__
