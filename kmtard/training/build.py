"""Build what a recipe names: data, networks, teachers and methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from kmtard import methods, registry
from kmtard.attacks import PGD
from kmtard.data.image_folder import image_folder, image_folder_test
from kmtard.data.pipeline import DataSet, Split
from kmtard.networks import convert, weight_files
from kmtard.optimizers import L2SGD
from kmtard.recipe import Recipe, Training
from kmtard.registry.roles import Role
from kmtard.runs.files import RunError
from kmtard.training.evaluation import selection_attack

# Networks of the same architecture must not start with the same weights.
SEED_OFFSETS = {"student": 0, "nat_teacher": 1, "adv_teacher": 2}


def load_data(recipe: Recipe) -> DataSet:
    """Return the recipe's data set.

    Raises:
        RunError: the user's own function did not return a `DataSet`.
        DataError: the data set cannot be read.
    """
    data = registry.resolve("datasets", recipe.data.name)(recipe.data.directory)
    _check_data(recipe.data.name, data)
    return data


def load_test_split(name: str, directory: str | None, model: Any) -> Split:
    """Return the test images for a model; of a folder, only these are read.

    Args:
        name: of the data set, or `module:function`.
        directory: of its files.
        model: whose input tells the size that images in a folder must have.

    Raises:
        RunError: a data set of the user's own is no `DataSet`, or, as a `DataError`,
            files are missing, damaged or of another size.
    """
    load = registry.resolve("datasets", name)
    if load is image_folder:
        shape = tuple(getattr(model, "input_shape", None) or ())[1:]
        known = len(shape) == 3 and all(isinstance(size, int) for size in shape)
        return image_folder_test(directory, shape if known else None)
    data = load(directory)
    _check_data(name, data)
    return data.test


def _check_data(name: str, data: Any) -> None:
    if not isinstance(data, DataSet):
        raise RunError(
            f"Expected {name} to return a kmtard.data.DataSet. Received: "
            f"{type(data).__name__}. Correct the function, or data.name."
        )


def build_network(recipe: Recipe, role: Role, data: DataSet) -> Any:
    """Return a new network for a role, with weights drawn from the recipe's seed.

    Raises:
        RunError: the user's own function did not return a Keras model.
    """
    keras.utils.set_random_seed(recipe.runtime.seed + SEED_OFFSETS[role])
    section = getattr(recipe, role)
    make = registry.resolve("networks", section.network)
    network = make(data.num_classes, data.input_shape, **section.options)
    if not isinstance(network, keras.Model):
        raise RunError(
            f"Expected {section.network} to return a Keras model. Received: "
            f"{type(network).__name__}. Correct the function, or {role}.network."
        )
    if not network.built:
        # A subclassed model has no weights before it is first called.
        images = keras.KerasTensor((None, *data.input_shape), "float32")
        network(images, training=False)
    return network


def load_teacher(recipe: Recipe, role: Role, data: DataSet) -> Any:
    """Return a teacher with the weights from the file that the recipe names.

    Raises:
        RunError: the file is missing, has an unknown type, or does not fit the network.
    """
    path = getattr(recipe, role).weights
    try:
        if path.endswith(".keras"):
            return keras.models.load_model(path)
        if path.endswith(convert.HDF5) or weight_files.is_pytorch(path):
            network = build_network(recipe, role, data)
            convert.load(network, path)
            return network
    except (ImportError, OSError, ValueError) as error:
        raise RunError(
            f"{role}.weights = {path!r} cannot be used: {error}\nExpected a file saved "
            f"from the network {getattr(recipe, role).network!r}."
        ) from error
    raise RunError(
        f"{role}.weights must end in .keras, .weights.h5, .h5, "
        f"{', '.join(weight_files.READ_SUFFIXES)}. Received: {path!r}"
    )


def build_method(
    recipe: Recipe, training: Training, network: Any, teachers: Mapping[Any, Any]
) -> tuple[Any, list]:
    """Build and compile the method that trains a network.

    Args:
        recipe: the resolved recipe.
        training: the settings of this training.
        network: the network to train.
        teachers: role -> teacher, for the teachers that the method takes.

    Returns:
        The method, and the callbacks that it needs during `fit`.
    """
    model, driving = methods.build(
        training.method,
        student=network,
        **teachers,
        attack=PGD(**training.attack.model_dump()),
        evaluation_attack=selection_attack(recipe),
        seed=recipe.runtime.seed,
        **training.method_options,
    )
    model.compile(
        L2SGD(**training.optimizer.model_dump()), jit_compile=recipe.runtime.jit
    )
    return model, driving
