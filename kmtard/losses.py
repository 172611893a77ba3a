"""Losses as pure functions of logits, one value an example.

`logits` and `target_logits` are (batch, classes); `labels` is (batch,) integer. Every
function returns (batch,) nats, in float32 or better whatever the dtype that came in.
The three reductions of the field are means of these: the batch mean is
`mean(kl_divergence(t, s))`, the element mean (PyTorch's default) divides that by the
number of classes, and the distillation code of RSLAD and MTARD uses the element mean
with `floor=1e-5`.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

LOG_FLOOR = 1e-5
"""What RSLAD's and MTARD's code adds inside the teacher's logarithm."""


def at_least_float32(logits: Any) -> Any:
    """Cast half-precision logits up: softmax and KL lose their digits there."""
    half = keras.backend.standardize_dtype(logits.dtype) in ("float16", "bfloat16")
    return ops.cast(logits, "float32") if half else logits


def cross_entropy(labels: Any, logits: Any) -> Any:
    """Cross-entropy in the form `softplus(logsumexp of the others - own logit)`.

    Equal to `-log softmax(logits)[label]`, but its gradient keeps its sign when the
    probability of the label rounds to one, where the plain form gives noise.

    Returns:
        (batch,) values >= 0.
    """
    logits = at_least_float32(logits)
    own = ops.one_hot(labels, logits.shape[-1], dtype="bool")
    others = ops.logsumexp(ops.where(own, -1e30, logits), axis=-1)
    return ops.softplus(others - ops.sum(ops.where(own, logits, 0.0), axis=-1))


def kl_divergence(
    target_logits: Any, logits: Any, *, target_temperature: Any = 1.0, floor: float = 0
) -> Any:
    """Kullback-Leibler divergence of the softmax of `logits` from that of the target.

    `sum_k t_k (log(t_k + floor) - log s_k)`, t = softmax(target_logits / temperature).
    Gradients flow through both arguments.

    Args:
        target_logits: (batch, classes).
        logits: (batch, classes).
        target_temperature: > 0; a scalar, or (batch, 1) for one an example.
        floor: added inside the target's logarithm only; with 0 the logarithm is exact.
    """
    log_target = ops.log_softmax(at_least_float32(target_logits) / target_temperature)
    target = ops.exp(log_target)
    if floor:
        log_target = ops.log(target + floor)
    log_student = ops.log_softmax(at_least_float32(logits))
    return ops.sum(target * (log_target - log_student), axis=-1)


def entropy(logits: Any, *, temperature: Any = 1.0, floor: float = LOG_FLOOR) -> Any:
    """Shannon entropy `-sum_k p_k log(p_k + floor)` of `softmax(logits / temperature)`.

    The floor is the one of B-MTARD's code; the value is at most C * floor too small.
    """
    probabilities = ops.softmax(at_least_float32(logits) / temperature)
    return -ops.sum(probabilities * ops.log(probabilities + floor), axis=-1)
