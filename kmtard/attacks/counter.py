"""Random numbers on the device as a function of (image, position, draw).

The generator is Threefry-2x32 with 20 rounds (Salmon et al., "Parallel random numbers:
as easy as 1, 2, 3", 2011). It uses 32-bit integers that wrap around, so that the words
do not depend on the backend, the batch size or the order of the images. It is for
attacks that need millions of numbers inside a compiled step. Random starts, drawn once
per image, come from `noise.Noise`.
"""

from __future__ import annotations

import math

from keras import ops

from kmtard.backend.types import Tensor

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA
"""The key schedule's constant; it and `ROTATIONS` are part of Threefry."""


def threefry(
    keys: tuple[Tensor, Tensor], counters: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Return two words of 32 random bits for each counter.

    Args:
        keys: two int32 tensors, whose bits are the key.
        counters: two int32 tensors. The shapes of all four must broadcast together.

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
        keys: (batch, 2) int32, one key per image.
        count: number of positions, >= 1.
        draw: int32 (batch or 1, ...), the numbers of the draws for each image.

    Returns:
        Two int32 tensors (batch, ..., count).
    """
    draw = ops.expand_dims(draw, -1)
    axes = (slice(None), *[None] * (len(draw.shape) - 1))
    position = ops.arange(count, dtype="int32")
    return threefry((keys[:, 0][axes], keys[:, 1][axes]), (position, draw))


def below(word: Tensor, limit: Tensor) -> Tensor:
    """Return integers, uniform in 0 .. limit - 1, or 0 if the limit is below 1.

    Args:
        word: int32 random words.
        limit: int32, much smaller than 2 ** 24, because 24 bits of the word are used.
    """
    return _high_bits(word) % ops.maximum(limit, 1)


def signs(word: Tensor) -> Tensor:
    """Return float32 -1 or +1, each with probability 1/2."""
    return 2.0 * ops.cast(word & 1, "float32") - 1.0


def rademacher(keys: Tensor, count: int, draw: Tensor) -> Tensor:
    """Return float32 -1 or +1, each with probability 1/2; see `words` for shapes."""
    return signs(words(keys, count, draw)[0])


def uniform(word: Tensor) -> Tensor:
    """Return float32 numbers, uniform in [0, 1), from int32 random words."""
    return ops.cast(_high_bits(word), "float32") / 2.0**24


def normal(keys: Tensor, count: int, draw: Tensor) -> Tensor:
    """Return standard normal float32 numbers (Box and Muller 1958).

    The backends agree up to the rounding of logarithm, sine and cosine. See `words` for
    shapes.
    """
    pair = words(keys, -(-count // 2), draw)
    radius, angle = map(uniform, pair)
    # 1 - u is in (0, 1], so that its logarithm is finite.
    radius = ops.sqrt(-2.0 * ops.log1p(-radius))
    angle = 2.0 * math.pi * angle
    both = ops.concatenate([radius * ops.cos(angle), radius * ops.sin(angle)], axis=-1)
    return both[..., :count]


def _high_bits(word: Tensor) -> Tensor:
    return ops.right_shift(word, 8) & 0xFFFFFF


def _rotated(word: Tensor, bits: int) -> Tensor:
    # The right shift of a negative number fills with ones, which the mask removes.
    low = ops.right_shift(word, 32 - bits) & ((1 << bits) - 1)
    return ops.left_shift(word, bits) | low
