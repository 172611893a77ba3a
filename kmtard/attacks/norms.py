"""The geometry of the L_inf and the L2 ball, for gradient attacks."""

from __future__ import annotations

from collections.abc import Callable

from keras import ops

from kmtard.backend.types import Tensor

NORMS = ("linf", "l2")


def column(images: Tensor) -> tuple[int, ...]:
    """Return the shape (-1, 1, ...) that lets (batch,) values broadcast over images."""
    return (-1, *[1] * (len(images.shape) - 1))


def radii(epsilon: float, images: Tensor) -> Tensor:
    """Return `epsilon` once per image, in the shape (batch, 1, ...).

    A compiled function that gets the radius as an argument serves every radius.
    """
    return ops.full((images.shape[0], *column(images)[1:]), epsilon, images.dtype)


def l2_norm(images: Tensor) -> Tensor:
    """Return the L2 norm of each image, in the shape (batch, 1, ...)."""
    axes = tuple(range(1, len(images.shape)))
    return ops.sqrt(ops.sum(ops.square(images), axis=axes, keepdims=True))


def steepest(gradient: Tensor, norm: str) -> Tensor:
    """Return the direction of length 1 in which the loss increases fastest.

    Args:
        gradient: (batch, ...).
        norm: "linf" or "l2".

    Returns:
        The sign of the gradient ("linf"), or the gradient divided by its L2 norm
        ("l2"); 0 where the gradient is 0.
    """
    if norm == "linf":
        return ops.sign(gradient)
    return gradient / (l2_norm(gradient) + 1e-12)


def projection(
    x: Tensor, epsilon: float | Tensor, norm: str
) -> Callable[[Tensor], Tensor]:
    """Return a function that projects onto the ball around `x`, then onto [0, 1].

    Args:
        x: (batch, ...) images, the centers of the balls.
        epsilon: radius, one number or (batch, 1, ...).
        norm: "linf" or "l2".

    Returns:
        A function from images (batch, ...) to projected images.
    """
    if norm == "linf":
        low, high = (ops.clip(x + side, 0.0, 1.0) for side in (-epsilon, epsilon))
        return lambda u: ops.clip(u, low, high)

    def project(u: Tensor) -> Tensor:
        length = l2_norm(u - x)
        inside = (u - x) / (length + 1e-12) * ops.minimum(length, epsilon)
        return ops.clip(x + inside, 0.0, 1.0)

    return project
