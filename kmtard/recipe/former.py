"""Reproduce the hashes of earlier versions, so that their files are still found."""

from __future__ import annotations

from typing import Any

# (network, data set) -> defaults of version 0.1, which did not depend on the number of
# classes. The network that is built today is the same, so its hash must be too.
_FORMER_DEFAULTS = {
    ("wide_resnet_70_16", "cifar100"): {
        "mean": (0.5071, 0.4865, 0.4409),
        "std": (0.2673, 0.2564, 0.2762),
    }
}


def hashed_training(training: dict[str, Any], data_set: str) -> dict[str, Any]:
    """Return the settings that determine a teacher's hash, as in version 0.1.

    Args:
        training: the settings of the teacher's training.
        data_set: name of the data set.
    """
    former = _FORMER_DEFAULTS.get((training["network"], data_set), {})
    return training | {"network_options": former | training["network_options"]}
