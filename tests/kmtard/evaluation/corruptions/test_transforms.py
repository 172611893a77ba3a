"""Corruptions against the code of the published data sets, and against mathematics."""

from __future__ import annotations

import colorsys
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage, stats

from kmtard.evaluation.corruptions.parts import moved, zoomed
from kmtard.evaluation.corruptions.severities import LARGE, SMALL, severities_of
from kmtard.evaluation.corruptions.transforms import FUNCTIONS, corrupted
from kmtard.registry.corruptions import CORRUPTIONS, SEVERITIES
from tests.reference import corruptions as reference

pytestmark = pytest.mark.once("jax")

IMAGES = reference.images()


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def some(count: int = 24) -> np.ndarray:
    """Return different images of 32 x 32."""
    image = IMAGES["small"]
    return np.stack([np.roll(image, (3 * i, 5 * i), (0, 1)) for i in range(count)])


def distance(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.sqrt(np.mean((x / 255.0 - y / 255.0) ** 2)))


@pytest.mark.parametrize("size", IMAGES)
@pytest.mark.parametrize("name", reference.NAMES)
def test_images_equal_those_of_the_published_code(name: str, size: str) -> None:
    image, stride = IMAGES[size], reference.STRIDES[size]
    with np.load(reference.PATH) as stored:
        for severity in SEVERITIES:
            constants = severities_of(*image.shape[:2])[name][severity - 1]
            random = generator(reference.SEED)
            found = FUNCTIONS[name](image, *constants, random)
            if found.dtype != np.uint8:
                found = (255 * np.clip(found, 0, 1)).astype(np.uint8)
            expected = stored[f"{size}/{name}/{severity}"].astype(int)
            apart = np.abs(found[::stride, ::stride] - expected)
            # Where float32 and float64 fall on two sides of a whole number.
            assert apart.max() <= 1
            assert np.mean(apart > 0) <= 0.02


def test_gaussian_noise_has_its_deviation() -> None:
    gray = np.full((200, 200, 3), 128, np.uint8)
    for (deviation,) in SMALL["gaussian_noise"]:
        noise = FUNCTIONS["gaussian_noise"](gray, deviation, generator()) - 128 / 255
        assert stats.kstest(noise.ravel() / deviation, "norm").pvalue > 0.01


def test_shot_noise_counts_photons() -> None:
    gray = np.full((200, 200, 3), 128, np.uint8)
    for (photons,) in LARGE["shot_noise"]:
        counts = FUNCTIONS["shot_noise"](gray, photons, generator()) * photons
        assert np.allclose(counts, counts.round())
        expected = photons * 128 / 255
        assert counts.mean() == pytest.approx(expected, rel=0.01)
        assert counts.var() == pytest.approx(expected, rel=0.02)


def test_impulse_noise_changes_its_share() -> None:
    gray = np.full((200, 200, 3), 128, np.uint8)
    for (share,) in SMALL["impulse_noise"]:
        found = FUNCTIONS["impulse_noise"](gray, share, generator())
        white, black = int(np.sum(found == 1)), int(np.sum(found == 0))
        assert stats.binomtest(white + black, found.size, share).pvalue > 0.01
        assert stats.binomtest(white, white + black, 0.5).pvalue > 0.01
        assert np.sum(found == 128 / 255) == found.size - white - black


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_and_pixelate_are_those_of_pillow(channels: int) -> None:
    image = IMAGES["small"][..., :channels]
    picture = Image.fromarray(image[..., 0] if channels == 1 else image)
    for severity, quality in zip(SEVERITIES, (80, 65, 58, 50, 40), strict=True):
        content = io.BytesIO()
        picture.save(content, "JPEG", quality=quality)
        expected = np.asarray(Image.open(content)).reshape(image.shape)
        found = corrupted(
            image[None], "jpeg_compression", severity, seed=0, indices=[0]
        )
        assert np.array_equal(found[0], expected)
    # A quarter of each side of 224: means of 4 x 4 blocks.
    large = IMAGES["large"][..., :channels]
    found = corrupted(large[None], "pixelate", 5, seed=0, indices=[0])[0]
    means = large.reshape(56, 4, 56, 4, channels).mean(axis=(1, 3))
    blocks = np.kron(means, np.ones((4, 4, 1)))
    # Pillow rounds after each of the two axes.
    assert np.abs(found - blocks).max() <= 1


def test_brightness_adds_to_the_value_of_hsv() -> None:
    image = np.array([[[0, 0, 0], [255, 255, 255], [10, 200, 30], [90, 40, 250]]])
    image = np.repeat(image.astype(np.uint8), 4, axis=0)
    found = FUNCTIONS["brightness"](image, 0.2, generator())
    for pixel, result in zip(image[0] / 255, found[0], strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
        expected = colorsys.hsv_to_rgb(hue, saturation, min(value + 0.2, 1))
        assert result == pytest.approx(expected)


def test_contrast_scales_the_deviation_of_each_channel() -> None:
    image = IMAGES["small"]
    for (factor,) in SMALL["contrast"]:
        found = FUNCTIONS["contrast"](image, factor, generator())
        assert found.mean((0, 1)) == pytest.approx(image.mean((0, 1)) / 255)
        assert found.std((0, 1)) == pytest.approx(factor * image.std((0, 1)) / 255)


def test_zoom_is_that_of_scipy() -> None:
    image = IMAGES["small"] / 255
    # ceil(32 / 1.2) = 27 pixels from row 2 on become 32.
    expected = ndimage.zoom(image[2:29, 2:29], (1.2, 1.2, 1), order=1)
    assert zoomed(image, 1.2) == pytest.approx(expected)


def test_motion_is_a_weighted_mean_along_its_path() -> None:
    image = generator().random((9, 11, 1))
    weights = np.exp(-(np.arange(5) ** 2) / 8)
    weights /= weights.sum()
    for angle, down, right in ((0, 0, 1), (90, 1, 0), (-90, -1, 0), (45, 0.7, 0.7)):
        found = moved(image, 2, 2, angle)
        # A pixel whose path stays inside of the image.
        path = [(4 + round(down * i), 3 + round(right * i)) for i in range(5)]
        expected = sum(w * image[p] for w, p in zip(weights, path, strict=True))
        assert found[4, 3] == pytest.approx(expected), angle
    gray = np.full((9, 11, 1), 0.3)
    assert moved(gray, 8, 3, 20) == pytest.approx(gray)


@pytest.mark.parametrize(
    ("name", "constants"),
    [
        ("gaussian_noise", (0,)),
        ("impulse_noise", (0,)),
        ("defocus_blur", (0, 0.01)),
        ("glass_blur", (0, 1, 0)),
        ("motion_blur", (6, 0.01)),
        ("zoom_blur", (1.005, 0.01)),
        ("snow", (0, 0.1, 1, 9, 8, 3, 1)),
        ("frost", (1, 0)),
        ("fog", (0, 2)),
        ("brightness", (0,)),
        ("contrast", (1,)),
        ("elastic_transform", (0, 0, 0)),
        ("pixelate", (1,)),
    ],
)
@pytest.mark.parametrize("shape", [(32, 32, 3), (8, 8, 1), (20, 12, 3)])
def test_no_strength_changes_nothing(
    name: str, constants: tuple[float, ...], shape: tuple[int, ...]
) -> None:
    image = generator().integers(0, 256, shape, np.uint8)
    found = FUNCTIONS[name](image, *constants, generator())
    if found.dtype == np.uint8:
        found = found / 255
    # Glass blur rounds down in between, as its original does.
    level = 1 / 255 if name == "glass_blur" else 0
    assert found == pytest.approx(image / 255, abs=level + 1e-6)


def test_weather_has_its_sign() -> None:
    x = some()

    def shift(name: str, severity: int) -> np.ndarray:
        found = corrupted(x, name, severity, seed=0, indices=range(len(x)))
        return found.astype(int) - x

    for name in ("snow", "brightness"):
        assert min(shift(name, severity).min() for severity in SEVERITIES) >= -1
        means = [shift(name, severity).mean() for severity in SEVERITIES]
        assert min(means) > 0
    # The image has its full weight at the first two severities.
    assert shift("frost", 1).min() >= -1
    assert shift("frost", 2).mean() > shift("frost", 1).mean() > 0
    # Fog draws all values together; the largest possible value does not grow.
    fog = shift("fog", 5) + x
    assert fog.std() < x.std()
    assert fog.max() <= x.max()


# Their published constants do not grow: glass blur trades smoothing against passes,
# frost darkens the image, and the elastic transform moves corners less and less.
NOT_MONOTONE = {"glass_blur", "frost", "elastic_transform"}


@pytest.mark.parametrize("name", [n for n in CORRUPTIONS if n not in NOT_MONOTONE])
def test_a_higher_severity_changes_more(name: str) -> None:
    x = some(16)
    found = [
        distance(x, corrupted(x, name, severity, seed=0, indices=range(len(x))))
        for severity in SEVERITIES
    ]
    assert found == sorted(found)
    assert found[0] > 0 and found[-1] > 1.05 * found[0]


@pytest.mark.parametrize("shape", [(4, 4, 1), (8, 8, 1), (28, 28, 1), (40, 24, 3)])
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_every_shape(name: str, shape: tuple[int, ...]) -> None:
    # Smooth, so that a displacement or a blur changes it, and not black.
    place = np.linspace(0.2, 0.9, shape[0])[:, None, None]
    x = (255 * place * np.linspace(0.3, 1, shape[1])[:, None]).astype(np.uint8)
    x = np.broadcast_to(x, shape)[None].repeat(3, 0)
    found = corrupted(x, name, 5, seed=0, indices=range(3))
    assert found.shape == x.shape
    assert found.dtype == np.uint8
    assert np.any(found != x)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_an_image_does_not_depend_on_its_batch(name: str) -> None:
    x = some(5)

    def run(rows: list[int], seed: int = 0, severity: int = 3) -> np.ndarray:
        return corrupted(x[rows], name, severity, seed=seed, indices=rows)

    whole = run([0, 1, 2, 3, 4])
    assert np.array_equal(whole[[3, 1]], run([3, 1]))
    random = not np.array_equal(whole, run([0, 1, 2, 3, 4], seed=1))
    same = corrupted(x[[0, 0]], name, 3, seed=0, indices=[0, 1])
    assert random == (not np.array_equal(same[0], same[1]))
    deterministic = {
        *("defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate"),
        "jpeg_compression",
    }
    assert random == (name not in deterministic)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"images": np.zeros((1, 8, 8, 2), np.uint8)}, "8 x 8 x 2"),
        ({"images": np.zeros((1, 3, 8, 1), np.uint8)}, "at least 4 x 4 pixels"),
        ({"images": np.zeros((8, 8, 1), np.uint8)}, "Corruptions need images"),
        ({"images": np.zeros((1, 8, 8, 1))}, "uint8. Received: float64"),
        ({"name": "rain"}, "'rain', 3"),
        ({"severity": 6}, "'snow', 6"),
    ],
)
def test_what_cannot_be_corrupted(change: dict[str, Any], told: str) -> None:
    settings: dict[str, Any] = {
        "images": np.zeros((1, 8, 8, 1), np.uint8),
        "name": "snow",
        "severity": 3,
    }
    function: Callable[..., np.ndarray] = corrupted
    with pytest.raises(ValueError, match=told):
        function(**(settings | change), seed=0, indices=[0])
