"""The objects that a recipe names: data, networks, teachers."""

from __future__ import annotations

from typing import Any

import keras

from kmtard import registry
from kmtard.data.pipeline import DataSet
from kmtard.files import RunError
from kmtard.networks import convert, weight_files
from kmtard.recipe import Recipe, Role

# Networks of one kind must not start from the same weights.
SEED_OFFSETS = {"student": 0, "nat_teacher": 1, "adv_teacher": 2}


def load_data(recipe: Recipe) -> DataSet:
    """Return the recipe's data set."""
    return registry.resolve("datasets", recipe.data.name)(recipe.data.directory)


def build_network(recipe: Recipe, role: Role, data: DataSet) -> Any:
    """Return a fresh network for a role, its weights drawn from the recipe's seed."""
    keras.utils.set_random_seed(recipe.runtime.seed + SEED_OFFSETS[role])
    section = getattr(recipe, role)
    network = registry.resolve("networks", section.network)
    return network(data.num_classes, data.input_shape, **section.options)


def load_teacher(recipe: Recipe, role: Role, data: DataSet) -> Any:
    """Return a teacher with the weights of the file that the recipe names.

    Raises:
        RunError: the file is missing, of a kind not known, or does not fit.
    """
    path = getattr(recipe, role).weights
    try:
        if path.endswith(".keras"):
            return keras.models.load_model(path)
        if path.endswith(".weights.h5"):
            network = build_network(recipe, role, data)
            network.load_weights(path)
            return network
        if path.endswith(weight_files.SUFFIXES):
            network = build_network(recipe, role, data)
            convert.load(network, path)
            return network
    except (ImportError, OSError, ValueError) as error:
        raise RunError(
            f"{role}.weights = {path!r} cannot be used: {error}\nExpected a file saved "
            f"from the network {getattr(recipe, role).network!r}."
        ) from error
    raise RunError(
        f"{role}.weights must end in .keras, .weights.h5, "
        f"{', '.join(weight_files.SUFFIXES)}. Received: {path!r}"
    )
