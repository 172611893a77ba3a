"""Teachers from files."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from kmtard.data.digits import digits
from kmtard.networks import convert
from kmtard.networks.resnet import resnet18, resnet56
from kmtard.networks.small_cnn import small_cnn
from kmtard.recipe import Recipe, load
from kmtard.runs.files import RunError
from kmtard.training.build import load_teacher, load_test_split

# What files hold and what is said of them is the same with every backend.
pytestmark = pytest.mark.once("torch")

DIGITS = Path(__file__).parents[3] / "recipes" / "digits.toml"


def recipe(weights: Path, *overrides: str) -> Recipe:
    teacher = f'nat_teacher={{network="resnet56", weights="{weights}"}}'
    return load(DIGITS, overrides=[teacher, *overrides])


def test_teacher_from_a_pytorch_file(tmp_path: Path) -> None:
    network = resnet56(10, (8, 8, 1))
    path = tmp_path / "teacher.safetensors"
    convert.save(network, path)
    loaded = load_teacher(recipe(path), "nat_teacher", digits())
    images = np.random.default_rng(0).random((2, 8, 8, 1), "float32")
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(loaded(images)),
        keras.ops.convert_to_numpy(network(images)),
        atol=1e-5,
    )


def test_a_teacher_of_other_constants_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "teacher.safetensors"
    convert.save(resnet56(10, (8, 8, 1), mean="2x-1"), path)
    with pytest.raises(RunError, match="another standardization.*The network has none"):
        load_teacher(recipe(path), "nat_teacher", digits())
    options = 'nat_teacher.options={mean="2x-1", std=[0.5]}'
    with pytest.raises(RunError, match="A name sets both"):
        load_teacher(recipe(path, options), "nat_teacher", digits())
    options = 'nat_teacher.options={mean="2x-1", std="2x-1"}'
    load_teacher(recipe(path, options), "nat_teacher", digits())


@pytest.mark.parametrize("suffix", [".weights.h5", ".safetensors", ".keras"])
def test_weights_of_another_network_are_refused(tmp_path: Path, suffix: str) -> None:
    """Another family, another number of classes, another number of channels."""
    path = tmp_path / f"teacher{suffix}"
    others = [
        resnet18(10, (8, 8, 1)),
        small_cnn(5, (8, 8, 1), width=4),
        resnet56(5, (8, 8, 1)),
        resnet56(10, (8, 8, 3)),
    ]
    for network in others:
        if suffix == ".keras":
            network.save(path)
        elif suffix == ".safetensors":
            if network is others[1]:
                continue  # it has no names of PyTorch
            convert.save(network, path)
        else:
            network.save_weights(path)
        if suffix == ".keras" and network is others[0]:
            # A whole model of other layers is a teacher as good as any.
            load_teacher(recipe(path), "nat_teacher", digits())
            continue
        with pytest.raises(RunError, match="cannot be used") as error:
            load_teacher(recipe(path), "nat_teacher", digits())
        assert str(path) in str(error.value) and len(str(error.value)) < 4000


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("broken.safetensors", "cannot be used"),
        ("missing.keras", "cannot be used"),
        ("teacher.onnx", r"must end in \.keras, \.weights\.h5, .*\.pt"),
        ("whole.h5", r"whole model in the older HDF5 format(?s:.*)load_model"),
    ],
)
def test_file_that_cannot_be_used(tmp_path: Path, name: str, message: str) -> None:
    path = tmp_path / name
    if name.startswith("broken"):
        path.write_bytes(b"no weights")
    if name == "whole.h5":
        resnet56(10, (8, 8, 1)).save(path)
    with pytest.raises(RunError, match=message):
        load_teacher(recipe(path), "nat_teacher", digits())


def test_test_images_of_a_folder_must_fit_the_model(tmp_path: Path) -> None:
    """And those in `train`, here damaged, are not read."""
    for part, content in (("train", b"damaged"), ("test", b"")):
        for name in ("cat", "dog"):
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            (folder / "1.png").write_bytes(content)
            if part == "test":
                Image.fromarray(np.zeros((4, 5), np.uint8)).save(folder / "1.png")
    fitting, other = (
        keras.Sequential([keras.Input(s), keras.layers.Flatten()])
        for s in ((4, 5, 1), (6, 6, 3))
    )
    split = load_test_split("image_folder", str(tmp_path), fitting)
    assert (len(split), split.class_names) == (2, ("cat", "dog"))
    with pytest.raises(RunError, match=r"6 x 6 pixels, color, .*model expects. 2 of 2"):
        load_test_split("image_folder", str(tmp_path), other)
    assert load_test_split("digits", None, other).labels.shape == (360,)
