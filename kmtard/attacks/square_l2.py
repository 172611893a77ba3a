"""Square attack's search in the L2 ball: patterns that move within a budget.

Pure functions of (batch, height, width, channels) tensors, for `Square`. They compute
what the authors' PyTorch code in github.com/fra31/auto-attack does.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from keras import ops

from kmtard.attacks import counter
from kmtard.attacks.norms import l2_norm
from kmtard.attacks.square_linf import covered
from kmtard.backend.types import Tensor

TINY = 1e-12
"""Constant in denominators, as in the authors' code."""

TILES = 5
"""Number of patterns along the height of the image at the start."""


def pattern(side: int) -> np.ndarray:
    """Return the pattern of a window: a hill above, and a hollow below.

    Args:
        side: side of the window in pixels, >= 1.

    Returns:
        (side, side) float32 of Euclidean length 1.
    """
    half = side // 2
    whole = np.concatenate([_hill(half, side), -_hill(side - half, side)])
    return (whole / np.sqrt((whole**2).sum())).astype("float32")


def _hill(height: int, width: int) -> np.ndarray:
    """Return a rectangle whose values decrease from its center, of length 1."""
    hill = np.zeros((height, width))
    if not height:
        return hill
    top, left = height // 2, width // 2
    for ring in range(max(top, left) + 1):
        rows = slice(max(top - ring, 0), min(top + ring + 1, height))
        columns = slice(max(left - ring, 0), min(left + ring + 1, width))
        hill[rows, columns] += 1 / (ring + 1) ** 2
    return hill / np.sqrt((hill**2).sum())


def sides(share: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the sides of square windows that cover a share of an image.

    Args:
        share: (n,) in (0, 1].
        height: height of the images in pixels.
        width: width of the images in pixels.

    Returns:
        (n,) int32, odd and at least 3 unless the image is smaller.
    """
    wanted = np.maximum(np.rint(np.sqrt(share * height * width)), 3)
    return np.minimum(wanted + (wanted % 2 == 0), min(height, width)).astype("int32")


class Draw(NamedTuple):
    """The random choices of one iteration, one entry per image.

    Attributes:
        side: int32 (batch,), side of both windows.
        corner: two int32 (batch,), row and column of the window with the pattern.
        emptied: two int32 (batch,), row and column of the window that is emptied.
        turned: bool (batch,), whether the pattern is transposed.
        signs: float32 (batch, channels), -1 or 1.
    """

    side: Tensor
    corner: tuple[Tensor, Tensor]
    emptied: tuple[Tensor, Tensor]
    turned: Tensor
    signs: Tensor


def start(x: Tensor, keys: Tensor) -> Tensor:
    """Return a change of length 1 for each image: tiles with the pattern.

    Each tile has a sign per channel, and is transposed with probability 1/2.

    Args:
        x: (batch, height, width, channels) images.
        keys: (batch, 2) int32, one key per image; see `counter`.

    Returns:
        (batch, height, width, channels).
    """
    batch, _, _, channels = x.shape
    _, down, across, _ = _tiling(x)
    count = down * across * (1 + channels)
    drawn, _ = counter.words(keys, count, ops.zeros((1,), "int32"))
    drawn = ops.reshape(counter.signs(drawn), (batch, down, across, 1 + channels))
    return tiled(x, drawn[..., 0] > 0, drawn[..., 1:])


def tiled(x: Tensor, turned: Tensor, signs: Tensor) -> Tensor:
    """Return `start` for the given random choices.

    Args:
        x: (batch, height, width, channels) images.
        turned: bool (batch, rows of tiles, columns of tiles), whether a tile is
            transposed.
        signs: float32 (batch, rows of tiles, columns of tiles, channels), -1 or 1.
    """
    batch, height, width, channels = x.shape
    side, down, across, margin = _tiling(x)
    one = ops.convert_to_tensor(pattern(side))[:, :, None]
    tiles = ops.where(turned[..., None, None, None], ops.transpose(one, (1, 0, 2)), one)
    tiles = ops.transpose(tiles * signs[:, :, :, None, None], (0, 1, 3, 2, 4, 5))
    tiles = ops.reshape(tiles, (batch, down * side, across * side, channels))
    below, right = height - margin - down * side, width - margin - across * side
    change = ops.pad(tiles, [[0, 0], [margin, below], [margin, right], [0, 0]])
    return change / (l2_norm(change) + TINY)


def _tiling(x: Tensor) -> tuple[int, int, int, int]:
    """Return side, number of rows and of columns, and margin of the tiles."""
    height, width = x.shape[1:3]
    side = max(1, height // TILES)
    margin = max(0, (height - side * TILES) // 2)
    return side, (height - margin) // side, (width - margin) // side, margin


def draw(x: Tensor, keys: Tensor, number: Tensor, sides: np.ndarray) -> Draw:
    """Return the random choices of an iteration.

    Args:
        x: (batch, height, width, channels) images.
        keys: (batch, 2) int32, one key per image.
        number: int32 (batch,), the number of the iteration for each image, >= 1.
        sides: int32 (iterations,), side of the windows in each iteration.

    Returns:
        The choices. As in AutoAttack, the last row and column are in a window only if
        it is as large as the image.
    """
    _, height, width, channels = x.shape
    side = ops.take(sides, number - 1)
    first, second = counter.words(keys, 3 + channels, number)
    corner, emptied = (
        (
            counter.below(first[:, which], height - side),
            counter.below(second[:, which], width - side),
        )
        for which in range(2)
    )
    turned = (first[:, 2] & 1) == 1
    return Draw(side, corner, emptied, turned, counter.signs(first[:, 3:]))


def moved(change: Tensor, epsilon: Tensor, drawn: Draw, sides: np.ndarray) -> Tensor:
    """Return a change with a new pattern in one window and nothing in another.

    The new pattern is added to the direction of the old change in the first window. It
    gets the length that the old change has in both windows, and what is left of
    epsilon.

    Args:
        change: (batch, height, width, channels), the change of each image so far.
        epsilon: (batch, 1, 1, 1) radius.
        drawn: the random choices.
        sides: all sides that `drawn.side` can have.

    Returns:
        (batch, height, width, channels) of length epsilon.
    """
    _, height, width, channels = change.shape
    here, there = (
        covered(top, height, drawn.side)[:, :, None, None]
        & covered(left, width, drawn.side)[:, None, :, None]
        for top, left in (drawn.corner, drawn.emptied)
    )
    top, left = (place[:, None, None] for place in drawn.corner)
    row = ops.arange(height, dtype="int32")[:, None] - top
    column = ops.arange(width, dtype="int32") - left
    turned = drawn.turned[:, None, None]
    new = _looked_up(
        np.unique(sides),
        drawn.side,
        ops.where(turned, column, row),
        ops.where(turned, row, column),
    )
    new = ops.where(here, new[..., None] * drawn.signs[:, None, None], 0.0)
    old = ops.where(here, change, 0.0)
    new = new + old / (_channel_norm(old) + TINY)
    in_both = _channel_norm(ops.where(here | there, change, 0.0))
    unused = ops.maximum(ops.square(epsilon) - ops.square(l2_norm(change)), 0.0)
    length = ops.sqrt(unused / channels + ops.square(in_both))
    new = new / (_channel_norm(new) + TINY) * length
    change = ops.where(here, new, ops.where(there, 0.0, change))
    return epsilon * change / (l2_norm(change) + TINY)


def _looked_up(known: np.ndarray, side: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Return the pattern of each side at some places; any value outside of it.

    Args:
        known: int32 (n,), all sides in ascending order.
        side: int32 (batch,), one of them for each image.
        row: int32 (batch, height, width).
        column: int32 (batch, height, width).
    """
    largest = int(known[-1])
    padded = [np.pad(pattern(each), (0, largest - each)) for each in known.tolist()]
    row, column = (ops.clip(place, 0, largest - 1) for place in (row, column))
    number = ops.cast(ops.searchsorted(known, side), "int32")[:, None, None]
    return ops.take(np.stack(padded), (number * largest + row) * largest + column)


def _channel_norm(change: Tensor) -> Tensor:
    """Return the Euclidean length of each channel, (batch, 1, 1, channels)."""
    return ops.sqrt(ops.sum(ops.square(change), axis=(1, 2), keepdims=True))
