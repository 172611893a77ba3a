"""Projections onto a hyperplane within the box [0, 1]."""

from __future__ import annotations

from keras import ops

from kmtard.backend.types import Tensor


def box_projection(
    points: Tensor, normal: Tensor, gap: Tensor, *, norm: str = "linf"
) -> Tensor:
    """Return the shortest move of each point onto its hyperplane within [0, 1]^d.

    The optimal move changes each coordinate towards the plane by
    `min(time * speed, room)`. `room` is the distance to the face of the box; `speed` is
    1 (L_inf) or `|normal|` (L2). The progress towards the plane is a concave, piecewise
    linear function of `time`. Newton's method from 0 therefore never overshoots. It is
    exact as soon as no further coordinate reaches its face, and each step before that
    adds at least one such coordinate.

    FAB solves this problem by sorting (Croce and Hein 2020, "Minimally distorted
    adversarial examples with a fast adaptive boundary attack", section 2.2). The result
    here is the same.

    Args:
        points: (batch, d) in [0, 1].
        normal: (batch, d), the normal `w` of the plane `w . v = b`.
        gap: (batch,), `w . point - b`.
        norm: "linf" or "l2".

    Returns:
        (batch, d) moves. If the plane does not intersect the box, the coordinates move
        to their faces. The move is 0 where `normal` is 0.
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
    """Return the norm of each move: (batch, d) to (batch,)."""
    if norm == "linf":
        return ops.max(ops.abs(moves), axis=1)
    return ops.sqrt(ops.sum(ops.square(moves), axis=1))


def dual_length(normals: Tensor, norm: str) -> Tensor:
    """Return the dual norm of each normal: (batch, d) to (batch,).

    It is the largest change of `w . v` by a move of length 1.
    """
    if norm == "linf":
        return ops.sum(ops.abs(normals), axis=1)
    return length(normals, "l2")
