"""The balance rules of the methods as pure functions: state in, state out.

Nothing here is assigned. With a rate of 0 the state comes back as it went in, and so it
does where a new value would not be finite: one NaN must not stay for good.

B-MTARD's two run inside the step, on scalars (numbers or 0-d tensors). Paper: B-MTARD
(TPAMI 2024), section 3, equations 12-20; the code's clipping is kept. Those for each
class run once an epoch, on numpy arrays (classes,), in float64.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from keras import ops


class Temperatures(NamedTuple):
    """State of EBB.

    A run adds a rate of 1e-3 a hundred thousand times; in float32 the roundings would
    add up. They are kept and given back (Kahan 1965).

    Attributes:
        nat: temperature of the clean teacher, > 0.
        adv: temperature of the robust teacher, > 0.
        nat_rounding: what rounding has added to `nat` and is still to be taken off.
        adv_rounding: the same of `adv`.
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

    The softer teacher is sharpened, the sharper one softened:
    `s = sign(H_nat - H_adv)`, `T_nat <- clip(T_nat - rate s)`,
    `T_adv <- clip(T_adv + rate s)`.
    Equal entropies leave both where they are, and so do entropies that are NaN.

    Args:
        temperatures: of both teachers.
        nat_entropy: batch mean at the present temperature, in nats.
        adv_entropy: the same of the robust teacher.
        rate: step, >= 0.
        bounds: (low, high) for both temperatures.

    Returns:
        Those of the next step.
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
    """Move both loss weights towards the loss that has fallen less (NLB).

    `q = (L / L(0))^beta; r_nat = q_nat / (q_nat + q_adv); w <- rate r + (1 - rate) w`,
    then clipped at 0 and divided by the sum, as B-MTARD's code does.

    Args:
        nat_weight: weight of the clean teacher's loss, in [0, 1].
        adv_weight: weight of the robust teacher's loss; the two sum to 1.
        relative_nat_loss: L_nat / L_nat(0) of this step.
        relative_adv_loss: L_adv / L_adv(0) of this step.
        rate: in [0, 1].
        beta: exponent, >= 0; large values follow the slower loss alone.

    Returns:
        (nat_weight, adv_weight) to be used in this step's loss; the present ones where
        a relative loss is not finite.
    """
    # Only the quotient counts, and the larger of the two at 1 cannot overflow.
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
    """Return L(0) of NLB, the first loss above 0.

    A first batch whose images all weigh 0, or a teacher equal to the student, has a
    loss of 0, by which no later one could be divided.

    Args:
        initial: L(0) if a step before had one, otherwise 0.
        loss: of this step.

    Returns:
        L(0), 0 as long as no loss was above 0 and finite.
    """
    usable = ops.logical_and(ops.isfinite(loss), ops.convert_to_tensor(loss) > 0)
    found = ops.where(usable, loss, 0.0)
    return ops.where(ops.convert_to_tensor(initial) > 0, initial, found)


def _unless_still(rate: Any, moved: tuple, state: tuple, given: tuple) -> tuple:
    # A NaN that was given need not show: of it, some backends take the maximum or the
    # sign to be a number.
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
    """Weigh each class by how soon it falls, as Fair-ARD (NeurIPS 2023) does.

    `omega = (kappa + 1e-5)^-beta`, scaled to a mean of 1 and then clipped, with kappa =
    robust_steps / images. Clipping comes last: the mean is not 1 afterwards.

    Args:
        robust_steps: (classes,) sums over an epoch: at how many of the attack's
            gradient steps images of the class were classified correctly.
        images: (classes,) numbers of images; a class without any gets weight 1.
        beta: >= 0.
        bounds: (low, high) of the weights.

    Returns:
        (classes,) weights.
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

    `tau <- clip(tau - rate gap / max |gap|, bounds)`, gap = S - mean of S, S = losses /
    images. Where all classes are equally hard nothing moves.

    Args:
        temperatures: (classes,) present ones.
        losses: (classes,) sums of the cross-entropy over an epoch.
        images: (classes,) numbers of images; a class without any does not move, nor
            does one whose loss is not finite.
        rate: largest move, >= 0.
        bounds: (low, high) of the temperatures.

    Returns:
        (classes,) temperatures.
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
