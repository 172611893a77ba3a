"""Random numbers on the device as a function of (image, position, draw).

Threefry-2x32 with 20 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2,
3", 2011), in 32-bit integers that wrap: the words are the same on every backend, batch
size and order of images. It serves attacks that use numbers by the million inside a
compiled step; starts drawn once an image come from `noise.Noise`.
"""

from __future__ import annotations

import math

from keras import ops

from kmtard.backend.types import Tensor

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA
"""Both are constants of Threefry."""


def threefry(
    keys: tuple[Tensor, Tensor], counters: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Return two words of 32 random bits for each counter.

    Args:
        keys: two int32 tensors; their bits are the key.
        counters: two int32 tensors, all four of shapes that broadcast together.

    Returns:
        Two int32 tensors of the common shape.
    """
    schedule = (*keys, keys[0] ^ keys[1] ^ PARITY)
    first, second = counters[0] + keys[0], counters[1] + keys[1]
    for block in range(1, 6):
        for bits in ROTATIONS[(block - 1) % 2]:
            first = first + second
            second = _rotated(second, bits) ^ first
        first = first + schedule[block % 3]
        second = second + schedule[(block + 1) % 3] + block
    return first, second


def words(keys: Tensor, count: int, draw: Tensor) -> tuple[Tensor, Tensor]:
    """Return two words for each image, draw and position.

    Args:
        keys: (batch, 2) int32, a key an image.
        count: positions.
        draw: int32 (batch or 1, ...), the numbers of the draws of an image.

    Returns:
        Two int32 tensors (batch, ..., count).
    """
    draw = ops.expand_dims(draw, -1)
    axes = (slice(None), *[None] * (len(draw.shape) - 1))
    position = ops.arange(count, dtype="int32")
    return threefry((keys[:, 0][axes], keys[:, 1][axes]), (position, draw))


def below(word: Tensor, limit: Tensor) -> Tensor:
    """Return whole numbers, uniform in 0 .. limit - 1 (0 for a limit below 1).

    24 of the bits are used; `limit` is far below 2 ** 24.
    """
    return _high_bits(word) % ops.maximum(limit, 1)


def signs(word: Tensor) -> Tensor:
    """Return float32 -1 or +1, each with probability 1/2."""
    return 2.0 * ops.cast(word & 1, "float32") - 1.0


def rademacher(keys: Tensor, count: int, draw: Tensor) -> Tensor:
    """Return float32 `signs` of the first words; see `words` for shapes."""
    return signs(words(keys, count, draw)[0])


def normal(keys: Tensor, count: int, draw: Tensor) -> Tensor:
    """Return standard normal float32 numbers (Box and Muller 1958).

    Equal on all backends up to the rounding of their logarithm and cosine; see `words`
    for shapes.
    """
    pair = words(keys, -(-count // 2), draw)
    radius, angle = (ops.cast(_high_bits(word), "float32") / 2.0**24 for word in pair)
    # 1 - u lies in (0, 1]: its logarithm is finite.
    radius = ops.sqrt(-2.0 * ops.log1p(-radius))
    angle = 2.0 * math.pi * angle
    both = ops.concatenate([radius * ops.cos(angle), radius * ops.sin(angle)], axis=-1)
    return both[..., :count]


def _high_bits(word: Tensor) -> Tensor:
    return ops.right_shift(word, 8) & 0xFFFFFF


def _rotated(word: Tensor, bits: int) -> Tensor:
    # The right shift copies the sign bit, which the mask removes.
    low = ops.right_shift(word, 32 - bits) & ((1 << bits) - 1)
    return ops.left_shift(word, bits) | low
