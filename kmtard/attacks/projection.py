"""Shortest moves onto a hyperplane that stay in the box [0, 1]."""

from __future__ import annotations

from keras import ops

from kmtard.backend.types import Tensor


def box_projection(
    points: Tensor, normal: Tensor, gap: Tensor, *, norm: str = "linf"
) -> Tensor:
    """Return the shortest move of each point onto its hyperplane within [0, 1]^d.

    The optimum moves every coordinate towards the plane by `min(time * speed, room)`:
    `room` is the way to the face of the box, `speed` is 1 (L_inf) or `|normal|` (L2).
    How near that comes to the plane is concave and piecewise linear in the time, so
    Newton's method from 0 never overshoots, and is exact once no more coordinates
    reach their face; each step but the last one adds some.

    Computes what FAB sorts for (Croce & Hein 2020, "Minimally distorted adversarial
    examples with a fast adaptive boundary attack", section 2.2), without the sort.

    Args:
        points: (batch, d) in [0, 1].
        normal: (batch, d), the normal `w` of the plane `w . v = b`.
        gap: (batch,), `w . point - b`.
        norm: "linf" or "l2".

    Returns:
        (batch, d) moves: the full way to the faces where the box does not reach the
        plane, 0 where `normal` is 0.
    """
    towards = -ops.sign(normal) * ops.sign(gap)[:, None]
    weight, need = ops.abs(normal), ops.abs(gap)[:, None]
    room = ops.where(towards > 0, 1.0 - points, points)
    speed = ops.ones_like(weight) if norm == "linf" else weight

    def newton(time: Tensor, grew: Tensor) -> tuple[Tensor, Tensor]:
        del grew
        free = time * speed < room
        gained = ops.sum(ops.where(free, 0.0, weight * room), axis=1, keepdims=True)
        slope = ops.sum(ops.where(free, weight * speed, 0.0), axis=1, keepdims=True)
        root = (need - gained) / ops.where(slope > 0, slope, 1.0)
        later = ops.where(slope > 0, ops.maximum(time, root), time)
        return later, later > time

    time, _ = ops.while_loop(
        lambda time, grew: ops.any(grew),
        newton,
        (ops.zeros_like(need), ops.ones_like(need, dtype="bool")),
    )
    return towards * ops.minimum(time * speed, room)


def length(moves: Tensor, norm: str) -> Tensor:
    """Return the length of each move: (batch, d) to (batch,)."""
    if norm == "linf":
        return ops.max(ops.abs(moves), axis=1)
    return ops.sqrt(ops.sum(ops.square(moves), axis=1))


def dual_length(normals: Tensor, norm: str) -> Tensor:
    """Return the gap that a move of length 1 closes: (batch, d) to (batch,)."""
    if norm == "linf":
        return ops.sum(ops.abs(normals), axis=1)
    return length(normals, "l2")
