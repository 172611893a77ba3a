"""Build what a recipe names: data, networks, teachers and methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import keras

from kmtard import methods, registry
from kmtard.attacks import PGD
from kmtard.data.image_folder import image_folder, image_folder_test
from kmtard.data.pipeline import DataSet, Split
from kmtard.methods.checks import image_shape, num_classes
from kmtard.networks import convert, own_model, weight_files
from kmtard.networks.freezing import freeze
from kmtard.networks.interface import TRIED_IMAGES
from kmtard.optimizers import L2SGD
from kmtard.recipe import Recipe, Training
from kmtard.registry.networks import is_file
from kmtard.registry.roles import LABELS, Role
from kmtard.runs.files import RunError
from kmtard.training.evaluation import selection_attack

WEIGHT_ENDINGS = ", ".join(
    (".keras", ".weights.h5", ".h5", *weight_files.READ_SUFFIXES)
)
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
        data = make(recipe.data.directory, **(recipe.data.options or {}))
    except (OSError, ValueError) as error:
        raise RunError(
            f"The data set {recipe.data.name} cannot be read: {_short(error)} "
            "See data.name and data.directory."
        ) from error
    _check_data(recipe.data.name, data)
    return data


def load_test_split(
    name: str,
    directory: str | None,
    model: Any,
    options: Mapping[str, Any] | None = None,
) -> Split:
    """Return the test images for a model. For a folder of images, only these are read.

    Args:
        name: name of the data set, or `module:function`.
        directory: folder with its files.
        model: the model. Images in a folder must have the size of its input.
        options: options of the data set.

    Raises:
        RunError: the user's own data set is not a `DataSet`, or (as a `DataError`)
            files are missing, damaged or of another size.
    """
    load = registry.resolve("datasets", name)
    if load is image_folder and options:
        return image_folder_test(directory, **options)
    if load is image_folder:
        shape = tuple(getattr(model, "input_shape", None) or ())[1:]
        known = len(shape) == 3 and all(isinstance(size, int) for size in shape)
        return image_folder_test(directory, shape if known else None)
    data = load(directory, **(options or {}))
    _check_data(name, data)
    return data.test


def _check_data(name: str, data: Any) -> None:
    if not isinstance(data, DataSet):
        raise RunError(
            f"Expected {name} to return a kmtard.data.DataSet. Received: "
            f"{type(data).__name__}. Correct the function, or data.name."
        )


def build_network(
    recipe: Recipe,
    role: Role,
    data: DataSet,
    tell: Callable[[str], None] = lambda text: None,
) -> Any:
    """Return a new network for a role, with weights drawn from the recipe's seed.

    A network from a `.keras` file has the weights of the file, and the student those of
    `student.weights` if it is given.

    Args:
        recipe: the resolved recipe.
        role: of the network.
        data: tells the images and the number of classes.
        tell: called with each line about what the network does around the user's model,
            and where its weights come from.

    Raises:
        RunError: it cannot be built with its options for these images, the user's own
            function did not return a Keras model, the logits do not fit the classes, or
            the weights do not fit the network.
    """
    keras.utils.set_random_seed(recipe.runtime.seed + SEED_OFFSETS[role])
    _count_names_anew()
    section = getattr(recipe, role)
    name = section.network
    try:
        if is_file(name):
            network = _own_network(name, data, section.options)
        else:
            make = registry.resolve("networks", name)
            network = make(data.num_classes, data.input_shape, **section.options)
    except (TypeError, ValueError) as error:
        raise RunError(
            f"The network {name} cannot be built for images "
            f"{data.input_shape} and {data.num_classes} classes: {_short(error)} See "
            f"{role}.network and [{role}.options]."
        ) from error
    if not isinstance(network, keras.Model):
        raise RunError(
            f"Expected {name} to return a Keras model. Received: "
            f"{type(network).__name__}. Correct the function, or {role}.network."
        )
    if not network.built:
        # A subclassed model has no weights before it is first called.
        images = keras.KerasTensor((None, *data.input_shape), "float32")
        network(images, training=False)
    classes = num_classes(network, (None, *data.input_shape))
    if classes not in (None, data.num_classes):
        raise RunError(
            f"Expected {name} to give {data.num_classes} logits, one for "
            f"each class. Received: {classes}. See {role}.network."
        )
    _tell_origin(role, network, name, tell)
    if role == "student" and section.weights:
        _initialize(network, section.weights)
        tell(f"{LABELS[role]}: starts with the weights of {section.weights}")
    if section.freeze:
        try:
            frozen = freeze(network, section.freeze)
        except ValueError as error:
            raise RunError(f"{role}.freeze: {_short(error)}") from error
        tell(f"{LABELS[role]}: {len(frozen)} layers are frozen")
    return network


def _own_network(path: str, data: DataSet, options: Mapping[str, Any]) -> Any:
    """Return the user's model as a network for the data.

    Raises:
        ValueError: the file cannot be read, or the model does not fit the data.
    """
    part = data.train.limit(TRIED_IMAGES)
    input_range = options.get("input_range")
    return own_model.adapted(
        own_model.with_momentum(own_model.load(path), options.get("momentum")),
        input_shape=data.input_shape,
        input_range=tuple(input_range) if input_range else None,
        labeled=(part.images[:], part.labels),
    )


def _tell_origin(
    role: Role, network: Any, path: str, tell: Callable[[str], None]
) -> None:
    if notes := own_model.origin_of(network).notes:
        tell(f"{LABELS[role]}: around the model of {path}: {'; '.join(notes)}")


def _initialize(network: Any, path: str) -> None:
    """Give the student the weights of a file.

    Raises:
        RunError: the file is missing or of an unknown type, or does not fit.
    """
    try:
        _load_into(network, path)
    except (ImportError, OSError, ValueError) as error:
        raise RunError(
            f"student.weights = {path!r} cannot be used: {_short(error)}\nExpected a "
            "file with the weights of student.network."
        ) from error


def _load_into(network: Any, path: str) -> None:
    """Copy the weights of a file into a network, or into the model that it is made of.

    Raises:
        ImportError: the file needs PyTorch, which is not installed.
        OSError: the file cannot be opened.
        ValueError: the file has an unknown type or does not fit.
    """
    model = own_model.origin_of(network).model
    if path.endswith(".keras"):
        arrays = _arrays(own_model.load(path))
        shapes = [each.shape for each in arrays]
        for target in (network, model):
            weights = _without_seeds(target)
            if [tuple(each.shape) for each in weights] == shapes:
                for weight, array in zip(weights, arrays, strict=True):
                    weight.assign(array)
                return
        raise ValueError(
            f"its model has {len(shapes)} weight arrays and the network "
            f"{len(_without_seeds(network))}, or their shapes differ."
        )
    if not (path.endswith(convert.HDF5) or weight_files.is_pytorch(path)):
        raise ValueError(f"it does not end in {WEIGHT_ENDINGS}.")
    try:
        convert.load(network, path)
    except ValueError:
        if model is network:
            raise
        convert.load(model, path)


def _without_seeds(network: Any) -> list[Any]:
    """Return the weights without the states of random numbers."""
    return [each for each in network.weights if "seed" not in each.path]


def _arrays(network: Any) -> list[Any]:
    return [keras.ops.convert_to_numpy(each) for each in _without_seeds(network)]


def _count_names_anew() -> None:
    """Give equal layers equal names, regardless of the networks built before.

    A resumed run builds fewer networks than an uninterrupted one. The finished batches
    of an evaluation are identified by the model's configuration, which contains the
    names. With other names, they would be computed again.
    """
    with suppress(ImportError):
        from keras.src.utils.naming import reset_uids

        reset_uids()


def load_teacher(
    recipe: Recipe,
    role: Role,
    data: DataSet,
    tell: Callable[[str], None] = lambda text: None,
) -> Any:
    """Return a teacher with the weights from the file that the recipe names.

    Args:
        recipe: the resolved recipe.
        role: of the teacher.
        data: tells the images and the number of classes.
        tell: as in `build_network`.

    Raises:
        RunError: the file is missing, has an unknown type, or does not fit the network
            or the data.
    """
    path = getattr(recipe, role).weights
    try:
        if path.endswith(".keras"):
            section = getattr(recipe, role)
            network = _own_network(path, data, section.options)
            _check_fit(network, data)
            _tell_origin(role, network, path, tell)
            return network
        if path.endswith(convert.HDF5) or weight_files.is_pytorch(path):
            network = build_network(recipe, role, data, tell)
            _load_into(network, path)
            return network
    except (ImportError, OSError, ValueError) as error:
        raise RunError(
            f"{role}.weights = {path!r} cannot be used: {_short(error)}\nExpected a "
            f"file saved from the network {getattr(recipe, role).network!r}."
        ) from error
    raise RunError(f"{role}.weights must end in {WEIGHT_ENDINGS}. Received: {path!r}")


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
