"""Square attack's search in the L_inf ball: windows of extreme color.

Pure functions of (batch, height, width, channels) tensors, for `Square`.

On small images the search soon proposes windows again that it has already tried at the
same image. Their loss is known, and so is that of a window that changes nothing. So the
search can remember the windows that it need not try, and pass over them: its result is
the same, with fewer forward passes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from keras import ops

from kmtard.attacks import counter
from kmtard.backend.types import Tensor

AHEAD = 64
"""Number of iterations among which the next window to try is looked for."""


class Draws(NamedTuple):
    """The random choices of iterations.

    Attributes:
        corner: int32 (batch, iterations), `row * width + column` of a window's corner.
        signs: bool (batch, iterations, channels), whether a channel becomes brighter.
    """

    corner: Tensor
    signs: Tensor


def sides(share: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the sides of squares that cover a share of an image.

    Args:
        share: (n,) in (0, 1].
        height: height of the images in pixels.
        width: width of the images in pixels.

    Returns:
        (n,) int32 in 1 .. min(height, width).
    """
    wanted = np.rint(np.sqrt(share * height * width))
    return np.clip(wanted, 1, min(height, width)).astype("int32")


def start(x: Tensor, keys: Tensor) -> Tensor:
    """Return vertical stripes of -1 and 1, (batch, 1, width, channels).

    Args:
        x: (batch, height, width, channels) images.
        keys: (batch, 2) int32, one key per image; see `counter`.
    """
    _, _, width, channels = x.shape
    first, _ = counter.words(keys, width * channels, ops.zeros((1,), "int32"))
    return ops.reshape(counter.signs(first), (-1, 1, width, channels))


def draw(x: Tensor, keys: Tensor, number: Tensor, side: Tensor) -> Draws:
    """Return the random choices of some iterations.

    Args:
        x: (batch, height, width, channels) images.
        keys: (batch, 2) int32, one key per image.
        number: int32 (iterations,), the numbers of the iterations, >= 1.
        side: int32 (iterations,), sides of their windows.

    Returns:
        The choices. The first row and column of a window are uniform in
        0 .. length - side - 1, as in AutoAttack. So only a window as long as the image
        covers the last position.
    """
    _, height, width, channels = x.shape
    first, second = counter.words(keys, 1 + channels, number[None])
    row = counter.below(first[..., 0], height - side)
    column = counter.below(second[..., 0], width - side)
    return Draws(row * width + column, counter.signs(first[..., 1:]) > 0)


def window(
    x: Tensor, drawn: Draws, number: Tensor, sides: np.ndarray
) -> tuple[Tensor, Tensor]:
    """Return the window of an iteration, and its signs.

    Args:
        x: (batch, height, width, channels) images.
        drawn: the random choices.
        number: int32 (batch,), the number of the iteration for each image, >= 1.
        sides: int32 (iterations,), side of the window in each iteration.

    Returns:
        bool (batch, height, width, 1), and -1 or 1 (batch, 1, 1, channels).
    """
    _, height, width, _ = x.shape
    at, side = number[:, None] - 1, ops.take(sides, number - 1)
    corner = ops.take_along_axis(drawn.corner, at, axis=1)[:, 0]
    bright = ops.take_along_axis(drawn.signs, at[..., None], axis=1)[:, :, None]
    covers = covered(corner // width, height, side)[:, :, None, None]
    covers = covers & covered(corner % width, width, side)[:, None, :, None]
    return covers, ops.where(bright, 1.0, -1.0)


def covered(first: Tensor, length: int, side: Tensor) -> Tensor:
    """Return bool (batch, length), the positions `first` .. `first + side - 1`."""
    first, place = first[:, None], ops.arange(length, dtype="int32")
    return (place >= first) & (place < first + side[:, None])


def windows(x: Tensor) -> int:
    """Return how many windows of one side there are: corners times signs.

    Args:
        x: (batch, height, width, channels) images.
    """
    _, height, width, channels = x.shape
    return height * width * 2**channels


def codes(drawn: Draws) -> Tensor:
    """Return the number of each iteration's window, int32 in 0 .. `windows` - 1.

    Iterations with one side and one number have one window with the same signs.
    """
    channels = drawn.signs.shape[-1]
    places = ops.convert_to_tensor(2 ** np.arange(channels, dtype="int32"))
    bits = ops.sum(ops.where(drawn.signs, places, 0), axis=-1)
    return drawn.corner * 2**channels + ops.cast(bits, "int32")


class Known(NamedTuple):
    """The windows that need not be tried at the images that the search has now.

    Attributes:
        side: int32 (batch,), side of these windows.
        windows: bool (batch, windows), whether the window with this number is known.
    """

    side: Tensor
    windows: Tensor

    @classmethod
    def nothing(cls, x: Tensor) -> Known:
        """Return what is known before the first iteration."""
        batch = x.shape[0]
        return cls(ops.zeros(batch, "int32"), ops.zeros((batch, windows(x)), "bool"))

    def next_new(
        self, codes: Tensor, number: Tensor, sides: np.ndarray
    ) -> tuple[Tensor, Tensor]:
        """Return the next iteration of each image whose window is not known.

        Args:
            codes: int32 (batch, iterations); see `codes`.
            number: int32 (batch,), the first iteration that may be it, >= 1.
            sides: int32 (iterations,), side of the window in each iteration.

        Returns:
            int32 (batch,), its number, and bool (batch,), whether it is found. If not,
            no iteration before this number has a new window.
        """
        numbers = number[:, None] + ops.arange(AHEAD, dtype="int32")
        at = ops.minimum(numbers, len(sides)) - 1
        known = ops.take_along_axis(
            self.windows, ops.take_along_axis(codes, at, axis=1), axis=1
        )
        known = known & (ops.take(sides, at) == self.side[:, None])
        known = known & (numbers <= len(sides))
        none = ops.all(known, axis=1)
        first = ops.cast(ops.argmin(ops.cast(known, "int32"), axis=1), "int32")
        number = number + ops.where(none, AHEAD, first)
        return number, ~none & (number <= len(sides))

    def after(
        self, tried: Tensor, side: Tensor, code: Tensor, changed: Tensor, still: Tensor
    ) -> Known:
        """Return what is known after an iteration.

        Args:
            tried: bool (batch,), whether the image had the iteration.
            side: int32 (batch,), side of the window.
            code: int32 (batch,), the number of the window.
            changed: bool (batch,), whether the window was kept.
            still: bool (batch, windows), the windows of this side that now would change
                nothing; see `unchanging`.
        """
        stale = tried & (changed | (side != self.side))
        now = ops.arange(self.windows.shape[1], dtype="int32") == code[:, None]
        return Known(
            ops.where(tried, side, self.side),
            ops.where(stale[:, None], still, self.windows) | (now & tried[:, None]),
        )


def unchanging(low: Tensor, best: Tensor, high: Tensor) -> Tensor:
    """Return which windows of a single pixel change nothing.

    Args:
        low: (batch, height, width, channels), the darkest image that is allowed.
        best: image of the same shape, to be changed.
        high: the brightest image.

    Returns:
        bool (batch, windows).
    """
    batch, *_, channels = best.shape
    dark, bright = best == low, best == high
    still = ops.ones((*best.shape[:3], 1), "bool")
    for channel in range(channels):
        # The sign of this channel is the next higher bit of a window's number.
        ends = (each[..., channel, None] for each in (dark, bright))
        still = ops.concatenate([still & end for end in ends], axis=-1)
    return ops.reshape(still, (batch, -1))
