"""From a recipe to its objects: data, networks, teachers and methods."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import keras

from kmtard import methods, registry
from kmtard.attacks import PGD
from kmtard.data.pipeline import DataSet
from kmtard.networks import convert, weight_files
from kmtard.optimizers import L2SGD
from kmtard.recipe import Recipe, Training
from kmtard.registry.roles import Role
from kmtard.runs.files import RunError
from kmtard.training.evaluation import selection_attack

# Networks of one kind must not start from the same weights.
SEED_OFFSETS = {"student": 0, "nat_teacher": 1, "adv_teacher": 2}


def load_data(recipe: Recipe) -> DataSet:
    """Return the recipe's data set.

    Raises:
        RunError: a data set of the user's own is no `DataSet`.
    """
    data = registry.resolve("datasets", recipe.data.name)(recipe.data.directory)
    if not isinstance(data, DataSet):
        raise RunError(
            f"Expected {recipe.data.name} to return a kmtard.data.DataSet. Received: "
            f"{type(data).__name__}. See data.name."
        )
    return data


def build_network(recipe: Recipe, role: Role, data: DataSet) -> Any:
    """Return a fresh network for a role, its weights drawn from the recipe's seed.

    Raises:
        RunError: a network of the user's own is no Keras model.
    """
    keras.utils.set_random_seed(recipe.runtime.seed + SEED_OFFSETS[role])
    _count_names_anew()
    section = getattr(recipe, role)
    make = registry.resolve("networks", section.network)
    network = make(data.num_classes, data.input_shape, **section.options)
    if not isinstance(network, keras.Model):
        raise RunError(
            f"Expected {section.network} to return a Keras model. Received: "
            f"{type(network).__name__}. See {role}.network."
        )
    if not network.built:
        # A subclassed model has no weights to load or resume before it is called.
        images = keras.KerasTensor((None, *data.input_shape), "float32")
        network(images, training=False)
    return network


def _count_names_anew() -> None:
    """Give equal layers equal names, however many networks were built before.

    A resumed run builds fewer than an unbroken one. The finished batches of an
    evaluation are known by the model with its names, and would be done again.
    """
    with suppress(ImportError):
        from keras.src.utils.naming import reset_uids

        reset_uids()


def load_teacher(recipe: Recipe, role: Role, data: DataSet) -> Any:
    """Return a teacher with the weights of the file that the recipe names.

    Raises:
        RunError: the file is missing, of a kind not known, or does not fit.
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
    """Build and compile what trains a network; return it with its driving callbacks."""
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
