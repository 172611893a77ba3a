"""`kmtard convert` writes the right file and prints what it read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from kmtard.commands.main import main
from kmtard.networks import convert, weight_files
from kmtard.networks.resnet import resnet56

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.once("torch")

SHAPE = "8,8,3"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A checkpoint as a training script leaves it, of images in [-1, 1]."""
    tensors = convert.to_torch(resnet56(5, (8, 8, 3), mean="2x-1"), constants=True)
    content = {f"module.{key}": torch.from_numpy(a) for key, a in tensors.items()}
    path = tmp_path / "model_best.pth.tar"
    torch.save({"net": content, "acc": np.float64(93.0)}, path)
    return path


def run(*words: Any) -> int:
    return main(["convert", *map(str, words)])


def test_around_all_kinds_of_files(checkpoint: Path, capsys: Any) -> None:
    folder = checkpoint.parent
    network = ("--network", "resnet56", "--input-shape", SHAPE)
    assert run(checkpoint, folder / "a.keras", *network) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"read {checkpoint}: resnet56, 5 classes, images of 8x8x3",
        "  weights: 287 tensors under 'net', without the prefix 'module.'",
        "  images are standardized with: mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5) "
        "(from the file)",
        f"wrote {folder / 'a.keras'}",
    ]
    assert run(folder / "a.keras", folder / "b.safetensors") == 0
    assert run(folder / "b.safetensors", folder / "c.weights.h5", *network) == 0
    constants = ("--classes", "5", "--option", "mean=2x-1", "--constants")
    assert run(folder / "c.weights.h5", folder / "d.pt", *network, *constants) == 0
    original = weight_files.read(checkpoint)
    copy = weight_files.read(folder / "d.pt")
    assert copy.keys() == {key.removeprefix("module.") for key in original}
    assert all(np.array_equal(copy[k.removeprefix("module.")], original[k])
               for k in original)  # fmt: skip
    model = keras.models.load_model(folder / "a.keras")
    assert model.output_shape == (None, 5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a.pt", "a.keras"], "expected --network with one of resnet18, "),
        (["a.pt", "a.keras", "--network=resnt18"], "Did you mean resnet18?"),
        (["a.keras", "b.pt", "--option=mean=cifar10"], "which has these options"),
        (["a.pt", "b.pt", "--network=resnet56", "--option=men=1"], "mean, std"),
        (["a.pt", "b.pt", "--network=resnet56", "--input-shape=8"], "'8'"),
    ],
)
def test_a_wrong_command_line(words: list[str], message: str, capsys: Any) -> None:
    with pytest.raises(SystemExit) as stop:
        run(*words)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_what_fails_is_said(checkpoint: Path, capsys: Any) -> None:
    folder = checkpoint.parent
    for words, message in (
        (["--option=mean=cifar10"], "another standardization of the images"),
        (["--option=mean=cifar"], "Received: 'cifar'"),
        (["--network=resnet18"], "do not fit the network"),
        (["--nest=best"], "under 'best'"),
    ):
        target = folder / "a.keras"
        assert run(checkpoint, target, "--network=resnet56", *words) == 1
        assert message in capsys.readouterr().err
        assert not target.exists()
    assert run(checkpoint, folder / "a.onnx", "--network=resnet56") == 1
    assert "must end in .keras, .weights.h5, .pt" in capsys.readouterr().err
    assert run(folder / "none.keras", folder / "a.pt") == 1
    resnet56(5, (8, 8, 3)).save(folder / "whole.h5")
    assert run(folder / "whole.h5", folder / "a.pt") == 1
    assert "keras.models.load_model" in capsys.readouterr().err
    resnet56(5, (8, 8, 3)).save_weights(folder / "a.weights.h5")
    given = ("--network=resnet56", f"--input-shape={SHAPE}")
    assert run(folder / "a.weights.h5", folder / "a.pt", *given) == 1
    assert "--classes" in capsys.readouterr().err
