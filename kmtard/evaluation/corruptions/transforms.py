"""The fifteen common corruptions of ImageNet-C, with NumPy, SciPy and Pillow.

Each function takes one uint8 image (height, width, channels), the constants of one
severity (see `severities`) and a source of random numbers. It returns the corrupted
image as floats, with 1 for white, or as uint8. `corrupted` calls them.

The results equal those of the code that made CIFAR-10-C and ImageNet-C up to rounding,
if the random numbers are equal, except for:

* `motion_blur` and `snow`: ImageMagick's motion blur is replaced by its formula.
* `frost`: a generated texture replaces the photographs.
* `elastic_transform`: older versions of OpenCV round positions to 1/32 pixel.
* `jpeg_compression`: versions of the library for JPEG differ slightly.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable

import numpy as np
from PIL import Image
from scipy import ndimage

from kmtard.evaluation.corruptions.parts import (
    Generator,
    disk,
    frost_texture,
    height_map,
    moved,
    zoomed,
)
from kmtard.evaluation.corruptions.severities import severities_of
from kmtard.registry.corruptions import CORRUPTIONS, SEVERITIES

SMALLEST = 4
"""Shortest side of an image, in pixels. A smaller one has no grid to distort."""

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the brightness of a pixel (ITU-R BT.601)."""


def corrupted(
    images: np.ndarray, name: str, severity: int, *, seed: int, indices: Iterable[int]
) -> np.ndarray:
    """Return corrupted images.

    The random numbers of an image depend only on the seed, the corruption, the severity
    and the index of the image, so that they do not depend on the batch.

    Args:
        images: uint8 (N, height, width, channels) with 1 channel or 3, and at least 4
            pixels per side.
        name: a corruption in `kmtard.registry.corruptions.CORRUPTIONS`.
        severity: 1 to 5. Images up to 32 x 32 have the constants of CIFAR-10-C, larger
            ones those of ImageNet-C.
        seed: any integer.
        indices: N integers >= 0, the indices of the images in the data set.

    Returns:
        uint8, of the same shape. Values are rounded down, as in the published images.

    Raises:
        ValueError: the name, the severity, or the shape or type of the images is wrong.

    Example:
        >>> import numpy as np
        >>> from kmtard.evaluation.corruptions.transforms import corrupted
        >>> gray = np.full((1, 8, 8, 3), 100, "uint8")
        >>> int(corrupted(gray, "brightness", 5, seed=0, indices=[0])[0, 0, 0, 0])
        176
    """
    check_shape(images.shape)
    if images.dtype != np.uint8:
        raise ValueError(f"Images must be uint8. Received: {images.dtype}.")
    if name not in CORRUPTIONS or severity not in SEVERITIES:
        raise ValueError(
            f"`name` must be one of {', '.join(CORRUPTIONS)}, and `severity` 1 to 5. "
            f"Received: {name!r}, {severity!r}."
        )
    function = FUNCTIONS[name]
    constants = severities_of(*images.shape[1:3])[name][severity - 1]
    digest = hashlib.blake2b(f"{seed}/{name}/{severity}".encode()).digest()
    key = np.frombuffer(digest[:16], np.uint64)
    result = np.empty_like(images)
    for row, (image, index) in enumerate(zip(images, indices, strict=True)):
        # The same use of Philox as for attacks: one stream per image.
        stream = np.random.Philox(key=key, counter=[0, 0, 0, index])
        found = function(image, *constants, np.random.Generator(stream))
        if found.dtype != np.uint8:
            found = (255 * np.clip(found, 0, 1)).astype(np.uint8)
        result[row] = found
    return result


def check_shape(shape: tuple[int, ...]) -> None:
    """Refuse images that cannot be corrupted.

    Args:
        shape: (N, height, width, channels).

    Raises:
        ValueError: the images do not have 1 channel or 3, or are too small.
    """
    if len(shape) != 4 or shape[3] not in (1, 3) or min(shape[1:3]) < SMALLEST:
        raise ValueError(
            "Corruptions need images with 1 channel or 3, and at least "
            f"{SMALLEST} x {SMALLEST} pixels. Received: height, width and channels "
            f"{' x '.join(map(str, shape[1:]))}."
        )


def gaussian_noise(x: np.ndarray, deviation: float, random: Generator) -> np.ndarray:
    """Add normal noise."""
    return x / 255 + random.normal(0, deviation, x.shape)


def shot_noise(x: np.ndarray, photons: float, random: Generator) -> np.ndarray:
    """Count photons, as in the dark."""
    return random.poisson(x / 255 * photons) / photons


def impulse_noise(x: np.ndarray, share: float, random: Generator) -> np.ndarray:
    """Set a share of the values to black or white, with equal probability."""
    changed = random.random(x.shape) <= share
    white = random.random(x.shape) <= 0.5
    return np.where(changed, white, x / 255)


def defocus_blur(
    x: np.ndarray, radius: float, smoothness: float, random: Generator
) -> np.ndarray:
    """Blur by a disk, as a lens out of focus."""
    del random
    kernel = disk(radius, smoothness)[..., None]
    return ndimage.correlate(x / 255, kernel, mode="mirror")


def glass_blur(
    x: np.ndarray, deviation: float, shift: int, passes: int, random: Generator
) -> np.ndarray:
    """Blur, move pixels to places near them, and blur again, as frosted glass.

    The published images were made by an exchange of two views of one array, which
    copies a pixel and exchanges nothing. So a pixel is copied here, too.
    """
    height, width, channels = x.shape
    soft = (255 * _smooth(x / 255, deviation)).astype(np.uint8).reshape(-1, channels)
    rows = np.arange(height - shift, shift, -1)
    columns = np.arange(width - shift, shift, -1)
    places = (rows[:, None] * width + columns).ravel()
    source = list(range(height * width))
    for _ in range(passes):
        right, down = random.integers(-shift, shift, (len(places), 2)).T
        others = places + down * width + right
        # One after the other, because a copied pixel may be copied again.
        for place, other in zip(places.tolist(), others.tolist(), strict=True):
            source[place] = source[other]
    return _smooth(soft[source].reshape(x.shape) / 255, deviation)


def motion_blur(
    x: np.ndarray, radius: int, deviation: float, random: Generator
) -> np.ndarray:
    """Move the image during the exposure, in a direction between -45 and 45 degrees."""
    return moved(x / 255, radius, deviation, random.uniform(-45, 45))


def zoom_blur(x: np.ndarray, end: float, step: float, random: Generator) -> np.ndarray:
    """Zoom during the exposure."""
    del random
    image = x / 255
    factors = np.arange(1, end, step)
    total = sum(zoomed(image, float(factor)) for factor in factors)
    return (image + total) / (len(factors) + 1)


def snow(
    x: np.ndarray,
    mean: float,
    deviation: float,
    zoom: float,
    threshold: float,
    radius: int,
    motion: float,
    weight: float,
    random: Generator,
) -> np.ndarray:
    """Let flakes fall, and make the image whiter."""
    image = x / 255
    flakes = zoomed(random.normal(mean, deviation, x.shape[:2]), zoom)
    flakes[flakes < threshold] = 0
    flakes = np.floor(255 * np.clip(flakes, 0, 1)) / 255
    flakes = moved(flakes[..., None], radius, motion, random.uniform(-135, -45))
    gray = image @ np.array(LUMA)[:, None] if x.shape[-1] == 3 else image
    image = weight * image + (1 - weight) * np.maximum(image, 1.5 * gray + 0.5)
    return image + flakes + np.rot90(flakes, 2)


def frost(x: np.ndarray, image: float, ice: float, random: Generator) -> np.ndarray:
    """Add a texture of frost."""
    height, width = x.shape[:2]
    texture = frost_texture(height, width, random)
    if x.shape[-1] == 1:
        texture = texture @ np.array(LUMA)[:, None]
    return image * x / 255 + ice * texture


def fog(x: np.ndarray, strength: float, decay: float, random: Generator) -> np.ndarray:
    """Add a height map, and scale the image so that the brightest value remains."""
    image = x / 255
    brightest = image.max()
    height, width = x.shape[:2]
    mist = height_map(height, width, decay, random)[..., None]
    return (image + strength * mist) * brightest / (brightest + strength)


def brightness(x: np.ndarray, added: float, random: Generator) -> np.ndarray:
    """Add to the value of hue, saturation and value."""
    del random
    image = x / 255
    value = image.max(axis=-1, keepdims=True)
    brighter = np.minimum(value + added, 1)
    # With equal hue and saturation, all channels are proportional to the value. Black
    # has no hue and becomes gray.
    black = value == 0
    return np.where(black, brighter, image * brighter / np.where(black, 1, value))


def contrast(x: np.ndarray, factor: float, random: Generator) -> np.ndarray:
    """Move all values towards the mean of their channel."""
    del random
    image = x / 255
    mean = image.mean(axis=(0, 1), keepdims=True)
    return (image - mean) * factor + mean


def elastic_transform(
    x: np.ndarray, length: float, smoothness: float, corner: float, random: Generator
) -> np.ndarray:
    """Distort by a random affine map, then by a smooth random displacement."""
    height, width, channels = x.shape
    side = min(height, width)
    middle, arm = np.array([width, height]) // 2, side // 3
    # Three points (x, y), where they are after the map and where they come from.
    old = middle + arm * np.array([[1, 1], [1, -1], [-1, -1]])
    new = old + random.uniform(-corner * side, corner * side, old.shape)
    affine = np.linalg.solve(np.column_stack([new, np.ones(3)]), old)
    down, right = np.indices((height, width))
    grid = np.stack([right, down, np.ones_like(right)], axis=-1) @ affine
    image = _sampled(x / 255, grid[..., 1], grid[..., 0], "mirror")
    shifts = [
        length
        * side
        * ndimage.gaussian_filter(
            random.uniform(-1, 1, (height, width)),
            smoothness * side,
            mode="reflect",
            truncate=3,
        )
        for _ in range(2)
    ]
    return _sampled(image, down + shifts[1], right + shifts[0], "reflect")


def pixelate(x: np.ndarray, share: float, random: Generator) -> np.ndarray:
    """Reduce the image, and enlarge it again."""
    del random
    height, width = x.shape[:2]
    small = (int(width * share), int(height * share))
    image = _picture(x).resize(small, Image.Resampling.BOX)
    return _pixels(image.resize((width, height), Image.Resampling.BOX), x)


def jpeg_compression(x: np.ndarray, quality: int, random: Generator) -> np.ndarray:
    """Compress the image as JPEG."""
    del random
    content = io.BytesIO()
    _picture(x).save(content, "JPEG", quality=quality)
    with Image.open(content) as image:
        return _pixels(image, x)


FUNCTIONS: dict[str, Callable[..., np.ndarray]] = {
    each.__name__: each
    for each in (
        *(gaussian_noise, shot_noise, impulse_noise),
        *(defocus_blur, glass_blur, motion_blur, zoom_blur),
        *(snow, frost, fog, brightness),
        *(contrast, elastic_transform, pixelate, jpeg_compression),
    )
}


def _smooth(image: np.ndarray, deviation: float) -> np.ndarray:
    deviations = (deviation, deviation, 0)
    return ndimage.gaussian_filter(image, deviations, mode="nearest", truncate=4)


def _sampled(
    image: np.ndarray, rows: np.ndarray, columns: np.ndarray, mode: str
) -> np.ndarray:
    """Return the image at places between its pixels, by linear interpolation."""
    channels = [
        ndimage.map_coordinates(each, [rows, columns], order=1, mode=mode)
        for each in np.moveaxis(image, -1, 0)
    ]
    return np.stack(channels, axis=-1)


def _picture(x: np.ndarray) -> Image.Image:
    return Image.fromarray(x[..., 0] if x.shape[-1] == 1 else x)


def _pixels(image: Image.Image, x: np.ndarray) -> np.ndarray:
    return np.asarray(image).reshape(x.shape)
