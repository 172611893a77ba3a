"""Images of the code that made CIFAR-10-C and ImageNet-C, for chosen random numbers.

`python tests/reference/corruptions.py make_cifar_c.py make_imagenet_c.py` writes
`corruptions.npz` beside this file. The two files are those of
github.com/hendrycks/robustness, in `ImageNet-C/create_c`. They need opencv-python and
scikit-image. The file in this folder was written with their versions 5.0.0 and 0.26.0,
and with commit 8190fe3 of the repository.

The functions run as they are. Only their source of random numbers is replaced by a
generator of NumPy, and functions that scikit-image has renamed get their old names.
Left out are `motion_blur`, `snow` and `frost`, which need ImageMagick and photographs,
and `jpeg_compression`, which depends on the version of the library for JPEG.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

PATH = Path(__file__).with_name("corruptions.npz")
NAMES = (
    *("gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur"),
    *("zoom_blur", "fog", "brightness", "contrast", "elastic_transform", "pixelate"),
)
SEED = 11
STRIDES = {"small": 2, "large": 16}
"""Size -> distance of the pixels that are kept."""


def images() -> dict[str, np.ndarray]:
    """Return a smooth image with a little noise of each size, by name."""
    generator = np.random.default_rng(3)
    found = {}
    for name, side in (("small", 32), ("large", 224)):
        place = np.arange(side) / side
        waves = [
            np.sin(2 * np.pi * (k * place[:, None] + (3 - k) * place)) for k in range(3)
        ]
        image = 0.5 + 0.35 * np.stack(waves, -1)
        image += generator.normal(0, 0.05, image.shape)
        found[name] = (255 * np.clip(image, 0, 1)).astype(np.uint8)
    return found


def functions(path: str) -> dict[str, Callable[..., Any]]:
    """Return the functions of a file that makes a data set, without making it."""
    import skimage as sk
    import skimage.filters

    stubs = {
        name: types.ModuleType(name)
        for name in ("torch", "torch.utils", "torch.utils.data", "torchvision",
                     "torchvision.datasets", "torchvision.transforms", "wand",
                     "wand.image", "wand.api", "wand.color")
    }  # fmt: skip
    stubs["torch.utils.data"].Dataset = object  # type: ignore[attr-defined]
    stubs["wand.image"].Image = object  # type: ignore[attr-defined]
    library = types.SimpleNamespace(MagickMotionBlurImage=types.SimpleNamespace())
    stubs["wand.api"].library = library  # type: ignore[attr-defined]
    for name, stub in stubs.items():
        parent, _, own = name.rpartition(".")
        if parent:
            setattr(stubs[parent], own, stub)
    gaussian = sk.filters.gaussian

    def old_gaussian(
        x: Any, *more: Any, multichannel: bool = False, **args: Any
    ) -> Any:
        axis = -1 if multichannel else None
        return gaussian(x, *more, channel_axis=axis, **args)

    text = Path(path).read_text().partition("\nimport collections")[0]
    text = text.replace("np.float_", "np.float64")
    # SciPy has moved the function.
    text = text.replace("scipy.ndimage.interpolation", "scipy.ndimage")
    space: dict[str, Any] = {"__name__": "made"}
    sys.modules.update(stubs)
    exec(compile(text, path, "exec"), space)
    for name in stubs:
        del sys.modules[name]
    space["gaussian"] = old_gaussian
    return space


def main(cifar: str, imagenet: str) -> None:
    """Write the file."""
    import skimage.util

    found: dict[str, np.ndarray] = {}
    noise = skimage.util.random_noise
    for (size, image), path in zip(images().items(), (cifar, imagenet), strict=True):
        space = functions(path)
        for name in NAMES:
            for severity in range(1, 6):
                generator = np.random.default_rng(SEED)
                np.random.normal = generator.normal
                np.random.poisson = generator.poisson
                np.random.uniform = generator.uniform
                np.random.randint = generator.integers
                skimage.util.random_noise = partial(noise, rng=generator)
                result = np.uint8(space[name](Image.fromarray(image), severity))
                step = STRIDES[size]
                found[f"{size}/{name}/{severity}"] = result[::step, ::step]
                print(size, name, severity, result.mean())
    np.savez_compressed(PATH, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
