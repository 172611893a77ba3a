"""Count the floating-point operations of networks and of a B-MTARD step.

Only convolutions and dense layers are counted, not elementwise operations. A
multiplication and an addition are two operations. Padding counts like other pixels.
"""

from __future__ import annotations

import math
from typing import Any


def layer_flops(network: Any) -> list[int]:
    """Return the operations of each layer with a kernel, for one image's forward pass.

    Args:
        network: a functional Keras model that calls each layer once.
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
    """Return the operations for one image in a B-MTARD step.

    The gradient with respect to the images costs as much as the forward pass. The
    backward pass in training costs twice as much, because it computes the gradients of
    the kernels and of the features. The first layer needs only that of its kernel.

    Args:
        student: functional Keras model, as in `layer_flops`.
        nat_teacher: the clean teacher, also a functional Keras model.
        adv_teacher: the robust teacher, also a functional Keras model.
        pgd_steps: number of steps of the attack.
    """
    forward = forward_flops(student)
    attack = pgd_steps * 2 * forward
    training = 2 * (3 * forward - layer_flops(student)[0])
    return attack + training + forward_flops(nat_teacher) + forward_flops(adv_teacher)
