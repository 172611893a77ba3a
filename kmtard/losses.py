"""Losses as pure functions of logits, one value per example.

`logits` and `target_logits` are (batch, classes) floats. `labels` is (batch,) integers.
Every function returns (batch,) values: nats for entropies and divergences, logit units
for margins. Half-precision logits are cast to float32 first.

Published codes reduce these values in three ways. The batch mean is
`mean(kl_divergence(t, s))`. The element mean, PyTorch's default, divides the batch mean
by the number of classes. The code of RSLAD and MTARD uses the element mean with
`floor=1e-5`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from kmtard import backend

LOG_FLOOR = 1e-5
"""Constant that the code of RSLAD and MTARD adds inside the teacher's logarithm."""

FLAT = 1e-30
"""Largest derivative at which a loss counts as flat."""


def at_least_float32(logits: Any) -> Any:
    """Cast half-precision logits to float32: softmax and KL are inexact below it."""
    half = keras.backend.standardize_dtype(logits.dtype) in ("float16", "bfloat16")
    return ops.cast(logits, "float32") if half else logits


def has_float16(network: Any) -> bool:
    """Return whether any layer of a network computes in float16."""
    # The dtype policy of a loaded model is only that of its outermost layer.
    layers = network._flatten_layers()
    return any(layer.compute_dtype == "float16" for layer in layers)


def cross_entropy(labels: Any, logits: Any) -> Any:
    """Cross-entropy, computed as `softplus(logsumexp(other logits) - own logit)`.

    This equals `-log softmax(logits)[label]`. Where the probability of the label rounds
    to one, the gradient of the usual form is rounding noise; the gradient of this form
    keeps its sign.

    Args:
        labels: (batch,) integers.
        logits: (batch, classes).

    Returns:
        (batch,) nats, >= 0.

    Example:
        >>> logits = keras.ops.convert_to_tensor([[2.0, 0.0], [0.0, 0.0]])
        >>> values = kmtard.losses.cross_entropy(np.array([0, 1]), logits)
        >>> [round(float(value), 4) for value in values]
        [0.1269, 0.6931]
    """
    logits = at_least_float32(logits)
    others = ops.logsumexp(backend.fill(logits, labels, -1e30), axis=-1)
    return ops.softplus(others - backend.pick(logits, labels))


def kl_divergence(
    target_logits: Any, logits: Any, *, target_temperature: Any = 1.0, floor: float = 0
) -> Any:
    """Kullback-Leibler divergence KL(target || student) of two softmax outputs.

    `sum_k t_k (log(t_k + floor) - log s_k)` with t = softmax(target_logits /
    target_temperature) and s = softmax(logits). Gradients flow through both arguments.

    Args:
        target_logits: (batch, classes).
        logits: (batch, classes).
        target_temperature: > 0; a scalar, or (batch, 1) for one per example.
        floor: >= 0, added inside the target's logarithm only; 0 gives the exact
            divergence.

    Returns:
        (batch,) nats, >= 0 if `floor` is 0.

    Example:
        >>> teacher = keras.ops.convert_to_tensor([[2.0, 0.0], [1.0, 1.0]])
        >>> student = keras.ops.convert_to_tensor([[0.0, 0.0], [1.0, 1.0]])
        >>> values = kmtard.losses.kl_divergence(teacher, student)
        >>> [round(float(value), 4) for value in values]
        [0.3278, 0.0]
    """
    log_student = ops.log_softmax(at_least_float32(logits))
    # Temperatures, teacher and student may each be of another float type.
    target_logits = ops.divide(at_least_float32(target_logits), target_temperature)
    log_target = ops.cast(ops.log_softmax(target_logits), log_student.dtype)
    target = ops.exp(log_target)
    if floor:
        log_target = ops.log(target + floor)
        return ops.sum(target * (log_target - log_student), axis=-1)
    # sum(s) - sum(t), which is 0, is added: it cancels the rounding errors of the two
    # logarithms, which are larger than the divergence of soft labels.
    ratio = log_student - log_target
    near = target * (ops.expm1(ops.clip(ratio, -float("inf"), 1.0)) - ratio)
    far = ops.exp(log_student) - target - target * ratio
    return ops.sum(ops.where(ratio < 1.0, near, far), axis=-1)


def entropy(logits: Any, *, temperature: Any = 1.0, floor: float = LOG_FLOOR) -> Any:
    """Shannon entropy `-sum_k p_k log(p_k + floor)` of `softmax(logits / temperature)`.

    The default floor is that of B-MTARD's code. It makes the value at most
    `classes * floor` too small.

    Args:
        logits: (batch, classes).
        temperature: > 0, a scalar.
        floor: >= 0, added inside the logarithm.

    Returns:
        (batch,) nats, up to log(classes).

    Example:
        >>> logits = keras.ops.convert_to_tensor([[1.0, 1.0], [9.0, 0.0]])
        >>> values = kmtard.losses.entropy(logits)
        >>> [round(float(value), 3) for value in values]
        [0.693, 0.001]
    """
    probabilities = ops.softmax(ops.divide(at_least_float32(logits), temperature))
    return -ops.sum(probabilities * ops.log(probabilities + floor), axis=-1)


def margin(labels: Any, logits: Any) -> Any:
    """Margin: the logit of the label minus the largest other logit.

    On every backend, the gradient reaches exactly one other class: the first of those
    that tie.

    Args:
        labels: (batch,) integers.
        logits: (batch, classes).

    Returns:
        (batch,) logit units; negative if the prediction is wrong.

    Example:
        >>> logits = keras.ops.convert_to_tensor([[3.0, 1.0], [3.0, 1.0]])
        >>> values = kmtard.losses.margin(np.array([0, 1]), logits)
        >>> [float(value) for value in values]
        [2.0, -2.0]
    """
    logits = at_least_float32(logits)
    rival = ops.argmax(backend.fill(logits, labels, -float("inf")), axis=-1)
    return backend.pick(logits, labels) - backend.pick(logits, rival)


def cw(labels: Any, logits: Any, *, kappa: float = 50.0) -> Any:
    """Margin loss of Carlini and Wagner (2017), `-max(margin + kappa, 0)`.

    An attack maximizes it.

    Args:
        labels: (batch,) integers.
        logits: (batch, classes).
        kappa: >= 0, in logit units; the gradient is zero where the margin is below
            `-kappa`. The attacks of FAT and MART use 50.

    Returns:
        (batch,) values <= 0.
    """
    return -ops.relu(margin(labels, logits) + kappa)


def dlr(labels: Any, logits: Any) -> Any:
    """Difference of logits ratio (Croce and Hein 2020).

    `-(z_y - max_{j != y} z_j) / (z_(1) - z_(3) + 1e-12)`, where z_(k) is the k-th
    largest logit. Shifting or scaling the logits does not change it. An attack
    maximizes it.

    Args:
        labels: (batch,) integers.
        logits: (batch, classes), at least three classes.

    Returns:
        (batch,) values; positive if the prediction is wrong.

    Raises:
        ValueError: fewer than three classes.
    """
    logits = at_least_float32(logits)
    ranked = _largest(logits, 3)
    first, second = ranked[:, 0], ranked[:, 1]
    rivals = ops.where(first == ops.cast(labels, "int32"), second, first)
    return _ratio(logits, labels, rivals, ranked)


def dlr_targeted(labels: Any, logits: Any, targets: Any) -> Any:
    """Targeted difference of logits ratio (Croce and Hein 2020).

    `-(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2 + 1e-12)`, where z_(k) is the k-th
    largest logit. Maximizing it moves the prediction from the label y to the target t.
    With three classes, z_(3) replaces the mean of z_(3) and z_(4).

    Args:
        labels: (batch,) integers.
        logits: (batch, classes), at least three classes.
        targets: (batch,) integers, the classes to aim at.

    Returns:
        (batch,) values; positive if the target's logit is above the label's.

    Raises:
        ValueError: fewer than three classes.
    """
    logits = at_least_float32(logits)
    ranked = _largest(logits, min(4, max(3, logits.shape[-1])))
    return _ratio(logits, labels, targets, ranked)


def amplified(
    objective: Callable[[Any], Any], network: Any, state: Sequence[Any] = ()
) -> Callable[[Any], Any]:
    """Return an objective whose gradient does not vanish in float16.

    The gradient of a confident prediction is so small that float16 layers round it to
    zero. The returned objective has a gradient of the same direction at the logits,
    scaled to a largest entry of 1 for each image. If no layer computes in float16, the
    objective is returned unchanged.

    Args:
        objective: maps logits, or a tuple of logits, to (batch,) values; it is called
            once.
        network: the model that computes the logits; each image's logits must depend on
            that image alone.
        state: every variable that `objective` assigns.

    Returns:
        A function from the same logits to (batch,) values. Only its gradient is
        meaningful.
    """
    if not has_float16(network):
        return objective

    def linear(logits: Any) -> Any:
        parts = keras.tree.flatten(logits)
        joined = ops.concatenate(parts, axis=-1)

        def of_all(joined: Any) -> Any:
            split = ops.split(joined, len(parts), axis=-1)
            return objective(keras.tree.pack_sequence_as(logits, split))

        slopes = backend.input_gradient(of_all, ops.stop_gradient(joined), state)
        largest = ops.max(ops.abs(slopes), axis=-1, keepdims=True)
        direction = ops.stop_gradient(slopes / ops.maximum(largest, FLAT))
        return ops.sum(direction * joined, axis=-1)

    return linear


def _ratio(logits: Any, labels: Any, rivals: Any, ranked: Any) -> Any:
    """Divide the lead of `rivals` over the labels by the spread of the top logits."""
    # The second largest logit is left out.
    first, *tail = (
        backend.pick(logits, ranked[:, place])
        for place in range(ranked.shape[-1])
        if place != 1
    )
    lead = backend.pick(logits, rivals) - backend.pick(logits, labels)
    spread = first - sum(tail) / len(tail) + 1e-12
    ratio = ops.stop_gradient(lead / spread)
    # Where lead and spread have equal gradients (the label ranks third), the quotient
    # rule must give exactly zero: attacks would follow the sign of a rounding error.
    change = (lead - ratio * spread) / ops.stop_gradient(spread)
    return ratio + (change - ops.stop_gradient(change))


def _largest(logits: Any, count: int) -> Any:
    """Return the classes of the `count` largest logits in order: (batch, count)."""
    if logits.shape[-1] < count:
        raise ValueError(
            f"The difference of logits ratio needs at least {count} classes. Received: "
            f"logits of shape {logits.shape}. Use the margin loss for two classes."
        )
    return ops.cast(ops.top_k(logits, count)[1], "int32")
