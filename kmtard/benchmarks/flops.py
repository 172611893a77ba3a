"""Floating-point operations of networks and of a B-MTARD step, counted by hand.

Convolutions and dense layers count, a multiplication and an addition as two; what is
computed element by element does not. Zeros of the padding count as other pixels do.
"""

from __future__ import annotations

import math
from typing import Any


def layer_flops(network: Any) -> list[int]:
    """Return the operations of one image's forward pass, of each layer with a kernel.

    Args:
        network: a functional Keras model, each of whose layers is called once.
    """
    return [
        2 * math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:-1])
        for layer in network._flatten_layers()
        if hasattr(layer, "kernel")
    ]


def forward_flops(network: Any) -> int:
    """Return the operations of one image's forward pass; see `layer_flops`."""
    return sum(layer_flops(network))


def step_flops(
    student: Any, nat_teacher: Any, adv_teacher: Any, *, pgd_steps: int
) -> int:
    """Return the operations that one image takes in a B-MTARD step.

    A gradient at the images costs as much as the forward pass before it. A training
    pass costs that twice, for kernels and for features, but the first layer needs no
    gradient at the images.
    """
    forward = forward_flops(student)
    attack = pgd_steps * 2 * forward
    training = 2 * (3 * forward - layer_flops(student)[0])
    return attack + training + forward_flops(nat_teacher) + forward_flops(adv_teacher)
