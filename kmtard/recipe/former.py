"""What earlier versions wrote differently, where their files must still be found."""

from __future__ import annotations

from typing import Any

# Defaults that version 0.1 had whatever the number of classes: (network, data set) for
# which they are still what is built.
_FORMER_DEFAULTS = {
    ("wide_resnet_70_16", "cifar100"): {
        "mean": (0.5071, 0.4865, 0.4409),
        "std": (0.2673, 0.2564, 0.2762),
    }
}


def hashed_training(training: dict[str, Any], data_set: str) -> dict[str, Any]:
    """Return what a teacher's hash is made of, as the first version had it.

    Args:
        training: all that the training of the teacher is made of.
        data_set: name of the data set.
    """
    former = _FORMER_DEFAULTS.get((training["network"], data_set), {})
    return training | {"network_options": former | training["network_options"]}
