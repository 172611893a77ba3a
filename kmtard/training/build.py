"""Build what a recipe names: data, networks, teachers and methods."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import keras

from kmtard import methods, registry
from kmtard.attacks import PGD
from kmtard.data.image_folder import image_folder, image_folder_test
from kmtard.data.pipeline import DataSet, Split
from kmtard.methods.checks import image_shape, num_classes
from kmtard.networks import convert, weight_files
from kmtard.optimizers import L2SGD
from kmtard.recipe import Recipe, Training
from kmtard.registry.roles import Role
from kmtard.runs.files import RunError
from kmtard.training.evaluation import selection_attack

LONGEST_REASON = 2000
"""Largest number of characters of another library's error in a message."""

# Networks of the same architecture must not start with the same weights.
SEED_OFFSETS = {"student": 0, "nat_teacher": 1, "adv_teacher": 2}


def load_data(recipe: Recipe) -> DataSet:
    """Return the recipe's data set.

    Raises:
        RunError: the data set cannot be read, or the user's own function did not
            return a `DataSet`.
    """
    make = registry.resolve("datasets", recipe.data.name)
    try:
        data = make(recipe.data.directory)
    except (OSError, ValueError) as error:
        raise RunError(
            f"The data set {recipe.data.name} cannot be read: {_short(error)} "
            "See data.name and data.directory."
        ) from error
    _check_data(recipe.data.name, data)
    return data


def load_test_split(name: str, directory: str | None, model: Any) -> Split:
    """Return the test images for a model. For a folder of images, only these are read.

    Args:
        name: name of the data set, or `module:function`.
        directory: folder with its files.
        model: the model. Images in a folder must have the size of its input.

    Raises:
        RunError: the user's own data set is not a `DataSet`, or (as a `DataError`)
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
        RunError: it cannot be built with its options for these images, the user's own
            function did not return a Keras model, or the logits do not fit the classes.
    """
    keras.utils.set_random_seed(recipe.runtime.seed + SEED_OFFSETS[role])
    _count_names_anew()
    section = getattr(recipe, role)
    make = registry.resolve("networks", section.network)
    try:
        network = make(data.num_classes, data.input_shape, **section.options)
    except (TypeError, ValueError) as error:
        raise RunError(
            f"The network {section.network} cannot be built for images "
            f"{data.input_shape} and {data.num_classes} classes: {_short(error)} See "
            f"{role}.network and [{role}.options]."
        ) from error
    if not isinstance(network, keras.Model):
        raise RunError(
            f"Expected {section.network} to return a Keras model. Received: "
            f"{type(network).__name__}. Correct the function, or {role}.network."
        )
    if not network.built:
        # A subclassed model has no weights before it is first called.
        images = keras.KerasTensor((None, *data.input_shape), "float32")
        network(images, training=False)
    classes = num_classes(network, (None, *data.input_shape))
    if classes not in (None, data.num_classes):
        raise RunError(
            f"Expected {section.network} to give {data.num_classes} logits, one for "
            f"each class. Received: {classes}. See {role}.network."
        )
    return network


def _count_names_anew() -> None:
    """Give equal layers equal names, regardless of the networks built before.

    A resumed run builds fewer networks than an uninterrupted one. The finished batches
    of an evaluation are identified by the model's configuration, which contains the
    names. With other names, they would be computed again.
    """
    with suppress(ImportError):
        from keras.src.utils.naming import reset_uids

        reset_uids()


def load_teacher(recipe: Recipe, role: Role, data: DataSet) -> Any:
    """Return a teacher with the weights from the file that the recipe names.

    Raises:
        RunError: the file is missing, has an unknown type, or does not fit the network
            or the data.
    """
    path = getattr(recipe, role).weights
    try:
        if path.endswith(".keras"):
            network = keras.models.load_model(path)
            _check_fit(network, data)
            return network
        if path.endswith(convert.HDF5) or weight_files.is_pytorch(path):
            network = build_network(recipe, role, data)
            convert.load(network, path)
            return network
    except (ImportError, OSError, ValueError) as error:
        raise RunError(
            f"{role}.weights = {path!r} cannot be used: {_short(error)}\nExpected a "
            f"file saved from the network {getattr(recipe, role).network!r}."
        ) from error
    raise RunError(
        f"{role}.weights must end in .keras, .weights.h5, .h5, "
        f"{', '.join(weight_files.READ_SUFFIXES)}. Received: {path!r}"
    )


def _check_fit(network: Any, data: DataSet) -> None:
    """Refuse a network for other images or classes, which Keras might accept."""
    shape = image_shape(network)
    if shape not in (None, data.input_shape):
        raise ValueError(
            f"it takes images of shape {shape}, but the data have {data.input_shape}."
        )
    classes = num_classes(network, (None, *data.input_shape))
    if classes not in (None, data.num_classes):
        raise ValueError(
            f"it gives {classes} logits, but the data have {data.num_classes} classes."
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

    Raises:
        RunError: the method cannot be built with its options and these networks.
    """
    try:
        model, driving = methods.build(
            training.method,
            student=network,
            **teachers,
            attack=PGD(**training.attack.model_dump()),
            evaluation_attack=selection_attack(recipe),
            seed=recipe.runtime.seed,
            **training.method_options,
        )
    except (TypeError, ValueError) as error:
        raise RunError(
            f"The method {training.method} cannot be built: {_short(error)}"
        ) from error
    model.compile(
        L2SGD(**training.optimizer.model_dump()), jit_compile=recipe.runtime.jit
    )
    return model, driving


def _short(error: Exception) -> str:
    """Return the text of an error, which libraries may make megabytes long."""
    text = str(error) or type(error).__name__
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}..."
