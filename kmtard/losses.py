"""Losses as pure functions of logits, one value an example.

`logits` and `target_logits` are (batch, classes); `labels` is (batch,) integer. Every
function returns (batch,) nats, in float32 or better whatever the dtype that came in.
The three reductions of the field are means of these: the batch mean is
`mean(kl_divergence(t, s))`, the element mean (PyTorch's default) divides that by the
number of classes, and the distillation code of RSLAD and MTARD uses the element mean
with `floor=1e-5`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from kmtard import backend

LOG_FLOOR = 1e-5
"""What RSLAD's and MTARD's code adds inside the teacher's logarithm."""

FLAT = 1e-30
"""Derivative from which on a loss counts as flat."""


def at_least_float32(logits: Any) -> Any:
    """Cast half-precision logits up: softmax and KL lose their digits there."""
    half = keras.backend.standardize_dtype(logits.dtype) in ("float16", "bfloat16")
    return ops.cast(logits, "float32") if half else logits


def has_float16(network: Any) -> bool:
    """Tell whether a layer computes in float16; a model that is loaded hides it."""
    layers = network._flatten_layers()
    return any(layer.compute_dtype == "float16" for layer in layers)


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
    log_student = ops.log_softmax(at_least_float32(logits))
    # Temperatures, teacher and student may each be of another float type.
    target_logits = ops.divide(at_least_float32(target_logits), target_temperature)
    log_target = ops.cast(ops.log_softmax(target_logits), log_student.dtype)
    target = ops.exp(log_target)
    if floor:
        log_target = ops.log(target + floor)
        return ops.sum(target * (log_target - log_student), axis=-1)
    # The difference of both sums, 1 - 1, is added: it takes the rounding of both
    # logarithms out, which outweighs the divergence of soft labels.
    ratio = log_student - log_target
    near = target * (ops.expm1(ops.clip(ratio, -float("inf"), 1.0)) - ratio)
    far = ops.exp(log_student) - target - target * ratio
    return ops.sum(ops.where(ratio < 1.0, near, far), axis=-1)


def entropy(logits: Any, *, temperature: Any = 1.0, floor: float = LOG_FLOOR) -> Any:
    """Shannon entropy `-sum_k p_k log(p_k + floor)` of `softmax(logits / temperature)`.

    The floor is the one of B-MTARD's code; the value is at most C * floor too small.
    """
    probabilities = ops.softmax(ops.divide(at_least_float32(logits), temperature))
    return -ops.sum(probabilities * ops.log(probabilities + floor), axis=-1)


def margin(labels: Any, logits: Any) -> Any:
    """Logit of the label less the largest other one: negative once it is wrong.

    The gradient goes to one other class, the first of those that tie, on every backend.

    Returns:
        (batch,) logit units.
    """
    logits = at_least_float32(logits)
    own = ops.one_hot(labels, logits.shape[-1], dtype="bool")
    rival = ops.argmax(ops.where(own, -float("inf"), logits), axis=-1)
    return _pick(logits, labels) - _pick(logits, rival)


def cw(labels: Any, logits: Any, *, kappa: float = 50.0) -> Any:
    """Carlini and Wagner's (2017) margin loss `-max(margin + kappa, 0)`, to maximise.

    Args:
        labels: (batch,) integers.
        logits: (batch, classes).
        kappa: >= 0, logit units: where the margin is below `-kappa` the gradient is
            zero. 50 in the attacks of FAT and MART.

    Returns:
        (batch,) values <= 0.
    """
    return -ops.relu(margin(labels, logits) + kappa)


def dlr(labels: Any, logits: Any) -> Any:
    """Difference of logits ratio (Croce and Hein 2020), to maximise.

    `-(z_y - max_{j != y} z_j) / (z_(1) - z_(3) + 1e-12)`, with z sorted downwards; it
    does not change when the logits are shifted or scaled.

    Returns:
        (batch,) values; positive once the prediction is wrong.

    Raises:
        ValueError: fewer than three classes.
    """
    logits = at_least_float32(logits)
    ranked = _largest(logits, 3)
    first, second = ranked[:, 0], ranked[:, 1]
    rivals = ops.where(first == ops.cast(labels, "int32"), second, first)
    return _ratio(logits, labels, rivals, ranked)


def dlr_targeted(labels: Any, logits: Any, targets: Any) -> Any:
    """Targeted difference of logits ratio (Croce and Hein 2020), to maximise.

    `-(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2 + 1e-12)`: it leads towards class t,
    away from the label. With three classes, z_(3) alone stands for the mean.

    Args:
        labels: (batch,) integers.
        logits: (batch, classes).
        targets: (batch,) integers.

    Returns:
        (batch,) values.

    Raises:
        ValueError: fewer than three classes.
    """
    logits = at_least_float32(logits)
    ranked = _largest(logits, min(4, max(3, logits.shape[-1])))
    return _ratio(logits, labels, targets, ranked)


def amplified(
    objective: Callable[[Any], Any], network: Any, state: Sequence[Any] = ()
) -> Callable[[Any], Any]:
    """Return an objective whose gradient at the images survives in float16.

    That of a confident prediction is so small that float16 rounds it to zero inside the
    network. Each image's is given the same direction at the logits, and size 1 there.
    Other types hold it as it is.

    Args:
        objective: logits, or a tuple of such -> (batch,) values; is called once.
        network: that computes the logits, of each image by itself.
        state: every variable that `objective` assigns.
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
    """Margin over `rivals`, divided by how far the best is above the third and on."""
    tail = [_pick(logits, ranked[:, place]) for place in range(2, ranked.shape[-1])]
    spread = _pick(logits, ranked[:, 0]) - sum(tail) / len(tail)
    lead, spread = _pick(logits, rivals) - _pick(logits, labels), spread + 1e-12
    ratio = ops.stop_gradient(lead / spread)
    # The quotient rule in the form that is exactly zero where both parts are equal (the
    # label ranks third): attacks would follow the sign of its rounding errors.
    change = (lead - ratio * spread) / ops.stop_gradient(spread)
    return ratio + (change - ops.stop_gradient(change))


def _largest(logits: Any, count: int) -> Any:
    """Classes of the `count` largest logits, the largest first: (batch, count)."""
    if logits.shape[-1] < count:
        raise ValueError(
            f"The difference of logits ratio needs at least {count} classes. Received: "
            f"logits of shape {logits.shape}. Use the margin loss for two classes."
        )
    return ops.cast(ops.top_k(logits, count)[1], "int32")


def _pick(logits: Any, classes: Any) -> Any:
    chosen = ops.one_hot(classes, logits.shape[-1], dtype="bool")
    return ops.sum(ops.where(chosen, logits, 0.0), axis=-1)
