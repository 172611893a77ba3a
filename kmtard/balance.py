"""The balance rules of the methods as pure functions from state to new state.

No function assigns a variable. The state is returned unchanged if the rate is 0, or if
a new value would not be finite: otherwise one NaN would stay until the end.

B-MTARD's two rules run inside the training step on scalars (numbers or 0-d tensors).
They follow B-MTARD (TPAMI 2024), section 3, equations 12-20, with the clipping of the
authors' code. The rules per class run once per epoch on NumPy arrays (classes,), in
float64.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from keras import ops


class Temperatures(NamedTuple):
    """State of EBB: both temperatures and their rounding errors.

    A run adds a rate of 1e-3 a hundred thousand times, and in float32 the rounding
    errors would accumulate. Compensated summation (Kahan 1965) removes them.

    Attributes:
        nat: temperature of the clean teacher, > 0.
        adv: temperature of the robust teacher, > 0.
        nat_rounding: accumulated rounding error of `nat`, subtracted at the next step.
        adv_rounding: accumulated rounding error of `adv`.
    """

    nat: Any
    adv: Any
    nat_rounding: Any = 0.0
    adv_rounding: Any = 0.0


def entropy_balance(
    temperatures: Temperatures,
    nat_entropy: Any,
    adv_entropy: Any,
    *,
    rate: Any,
    bounds: tuple[Any, Any],
) -> Temperatures:
    """Move both temperatures one step of `rate` towards equal teacher entropy (EBB).

    The temperature of the teacher with the larger entropy decreases, the other one
    increases: `s = sign(H_nat - H_adv)`, `T_nat <- clip(T_nat - rate s)`,
    `T_adv <- clip(T_adv + rate s)`. Nothing changes if the entropies are equal or not
    finite.

    Args:
        temperatures: of both teachers.
        nat_entropy: batch mean of the clean teacher's entropy at its current
            temperature, in nats.
        adv_entropy: the same for the robust teacher.
        rate: step of both temperatures, >= 0.
        bounds: (low, high) for both temperatures, 0 < low <= high.

    Returns:
        The temperatures for the next step.

    Example:
        >>> old = kmtard.balance.Temperatures(nat=1.0, adv=1.0)
        >>> new = kmtard.balance.entropy_balance(
        ...     old, nat_entropy=0.1, adv_entropy=0.9, rate=0.001, bounds=(1.0, 10.0)
        ... )
        >>> round(float(new.nat), 4), round(float(new.adv), 4)
        (1.001, 1.0)
    """
    step = rate * ops.sign(nat_entropy - adv_entropy)
    nat, adv, nat_rounding, adv_rounding = temperatures
    nat, nat_rounding = _moved(nat, -step, nat_rounding, bounds)
    adv, adv_rounding = _moved(adv, step, adv_rounding, bounds)
    moved = Temperatures(nat, adv, nat_rounding, adv_rounding)
    given = (nat_entropy, adv_entropy)
    return Temperatures(*_unless_still(rate, moved, temperatures, given))


def _moved(value: Any, step: Any, rounding: Any, bounds: tuple) -> tuple[Any, Any]:
    exact_step = step - rounding
    total = value + exact_step
    clipped = ops.clip(total, *bounds)
    rounding = (total - value) - exact_step
    return clipped, ops.where(clipped == total, rounding, 0.0)


def normalization_loss_balance(
    nat_weight: Any,
    adv_weight: Any,
    relative_nat_loss: Any,
    relative_adv_loss: Any,
    *,
    rate: Any,
    beta: Any,
) -> tuple[Any, Any]:
    """Move weight to the loss that has decreased less, relative to its start (NLB).

    `q = (L / L(0))^beta; r_nat = q_nat / (q_nat + q_adv); w <- rate r + (1 - rate) w`,
    and likewise for the other weight. Then both are clipped at 0 and divided by their
    sum, as in B-MTARD's code.

    Args:
        nat_weight: weight of the clean teacher's loss, in [0, 1].
        adv_weight: weight of the robust teacher's loss; the two sum to 1.
        relative_nat_loss: L_nat / L_nat(0) of this step.
        relative_adv_loss: L_adv / L_adv(0) of this step.
        rate: share of the target weight in the new weight, in [0, 1].
        beta: exponent, >= 0; a large value gives all weight to the slower loss.

    Returns:
        (nat_weight, adv_weight) for this step's loss; unchanged if a relative loss is
        not finite.

    Example:
        >>> weights = kmtard.balance.normalization_loss_balance(
        ...     0.5, 0.5, relative_nat_loss=0.2, relative_adv_loss=0.8, rate=0.1, beta=1
        ... )
        >>> [round(float(weight), 3) for weight in weights]
        [0.47, 0.53]
    """
    # Only the ratio of the two counts: divided by the larger one, no power overflows.
    nat = ops.maximum(relative_nat_loss, 1e-30)
    adv = ops.maximum(relative_adv_loss, 1e-30)
    largest = ops.maximum(nat, adv)
    nat, adv = ops.power(nat / largest, beta), ops.power(adv / largest, beta)
    target = nat / (nat + adv)
    nat = ops.maximum(rate * target + (1.0 - rate) * nat_weight, 0.0)
    adv = ops.maximum(rate * (1.0 - target) + (1.0 - rate) * adv_weight, 0.0)
    moved = (nat / (nat + adv), adv / (nat + adv))
    given = (relative_nat_loss, relative_adv_loss)
    return _unless_still(rate, moved, (nat_weight, adv_weight), given)


def initial_loss(initial: Any, loss: Any) -> Any:
    """Return L(0) of NLB: the first loss that is finite and above 0.

    The first loss may be 0, for example where all sample weights of the first batch are
    0, or where the teacher equals the student. It could not serve as a divisor.

    Args:
        initial: L(0) if an earlier step has set it, otherwise 0.
        loss: loss of this step.

    Returns:
        L(0), or 0 if no loss has been finite and above 0 so far.
    """
    usable = ops.logical_and(ops.isfinite(loss), ops.convert_to_tensor(loss) > 0)
    found = ops.where(usable, loss, 0.0)
    return ops.where(ops.convert_to_tensor(initial) > 0, initial, found)


def _unless_still(rate: Any, moved: tuple, state: tuple, given: tuple) -> tuple:
    # The inputs are checked too: on some backends, the maximum or the sign of NaN is a
    # number, so that the result is finite.
    moving = ops.convert_to_tensor(rate) > 0
    for value in (*moved, *given):
        moving = ops.logical_and(moving, ops.isfinite(value))
    return tuple(
        ops.where(moving, new, old) for new, old in zip(moved, state, strict=True)
    )


def class_weights(
    robust_steps: np.ndarray,
    images: np.ndarray,
    *,
    beta: float,
    bounds: tuple[float, float],
) -> np.ndarray:
    """Give larger weights to classes that the attack fools sooner.

    This is the rule of Fair-ARD (NeurIPS 2023): `omega = (kappa + 1e-5)^-beta`, with
    kappa = robust_steps / images, scaled to a mean of 1 and then clipped. The clipped
    weights are not scaled again, so that their mean may differ from 1.

    Args:
        robust_steps: (classes,) sums over an epoch: the number of attack steps at which
            an image of the class was still classified correctly.
        images: (classes,) number of images; a class without images gets weight 1.
        beta: exponent, >= 0.
        bounds: (low, high) of the weights, 0 < low <= high.

    Returns:
        (classes,) float64 weights.

    Example:
        >>> weights = kmtard.balance.class_weights(
        ...     np.array([40, 10]), np.array([5, 5]), beta=1.0, bounds=(0.5, 2.5)
        ... )
        >>> weights.round(3).tolist()
        [0.5, 1.6]
    """
    present = images > 0
    kappa = robust_steps.astype("float64") / np.maximum(images, 1)
    weights = np.power(kappa + 1e-5, -beta, where=present, out=np.ones_like(kappa))
    scale = present.sum() / max(weights[present].sum(), np.finfo("float64").tiny)
    return np.where(present, np.clip(weights * scale, *bounds), 1.0)


def class_temperatures(
    temperatures: np.ndarray,
    losses: np.ndarray,
    images: np.ndarray,
    *,
    rate: float,
    bounds: tuple[float, float],
) -> np.ndarray:
    """Lower the teacher's temperature for hard classes, as ABSLD (2024) does.

    `tau <- clip(tau - rate gap / max |gap|, bounds)` with S = losses / images and
    gap = S - mean(S). If all classes are equally hard, nothing changes.

    Args:
        temperatures: (classes,) current temperatures, > 0.
        losses: (classes,) sums of the cross-entropy over an epoch, in nats.
        images: (classes,) number of images; a class without images, or with a loss that
            is not finite, keeps its temperature.
        rate: largest change of a temperature, >= 0.
        bounds: (low, high) of the temperatures, 0 < low <= high.

    Returns:
        (classes,) float64 temperatures.

    Example:
        >>> temperatures = kmtard.balance.class_temperatures(
        ...     np.ones(2),
        ...     losses=np.array([8, 2]),
        ...     images=np.array([4, 4]),
        ...     rate=0.1,
        ...     bounds=(0.5, 5.0),
        ... )
        >>> temperatures.round(3).tolist()
        [0.9, 1.1]
    """
    temperatures = temperatures.astype("float64")
    present = (images > 0) & np.isfinite(losses)
    means = losses.astype("float64")[present] / images[present]
    gaps = np.zeros_like(temperatures)
    gaps[present] = means - means.mean() if means.size else 0.0
    largest = np.abs(gaps).max()
    if largest == 0 or rate == 0:
        return temperatures
    return np.clip(temperatures - rate * gaps / largest, *bounds)
