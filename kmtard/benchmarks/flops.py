"""Count the floating-point operations of networks and of a B-MTARD step.

Only convolutions and dense layers are counted. A multiplication and an addition are two
operations. Elementwise operations are not counted. Zeros from padding are counted like
other pixels.
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
    backward pass of a training pass costs twice as much, for the gradients of kernels
    and of features. In the first layer it needs no gradient of the images.

    Args:
        student: functional Keras model, as in `layer_flops`.
        nat_teacher: the same.
        adv_teacher: the same.
        pgd_steps: steps of the attack.
    """
    forward = forward_flops(student)
    attack = pgd_steps * 2 * forward
    training = 2 * (3 * forward - layer_flops(student)[0])
    return attack + training + forward_flops(nat_teacher) + forward_flops(adv_teacher)
