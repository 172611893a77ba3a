"""What a user may name, and what a baseline must hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kmtard.evaluation.corruptions.choice import Corruptions
from kmtard.registry.corruptions import CORRUPTIONS

pytestmark = pytest.mark.once("jax")

ERRORS = dict.fromkeys(CORRUPTIONS, 0.8)


@pytest.mark.parametrize(
    ("chosen", "names"),
    [
        ("all", CORRUPTIONS),
        ("fog", ("fog",)),
        ("fog, Gaussian-Noise", ("gaussian_noise", "fog")),
        (["snow", "frost"], ("snow", "frost")),
    ],
)
def test_names(chosen: Any, names: tuple[str, ...]) -> None:
    assert Corruptions.of(chosen) == Corruptions(names)


def test_a_folder_has_the_corruptions_of_its_files(tmp_path: Path) -> None:
    for name in ("fog", "snow", "labels", "speckle_noise"):
        np.save(tmp_path / f"{name}.npy", np.zeros(1))
    found = Corruptions.of(tmp_path)
    assert (
        found == Corruptions.of(str(tmp_path)) == Corruptions(("snow", "fog"), tmp_path)
    )


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ((), "Received: no corruption, no labels.npy"),
        (("fog",), "Received: fog, no labels.npy"),
        (("labels",), "Received: no corruption, labels.npy"),
    ],
)
def test_a_folder_without_files(
    files: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    for name in files:
        np.save(tmp_path / f"{name}.npy", np.zeros(1))
    with pytest.raises(ValueError, match=told):
        Corruptions.of(tmp_path)


@pytest.mark.parametrize("chosen", ["fogg", "", "fog,model.keras", []])
def test_names_that_are_none(chosen: Any) -> None:
    with pytest.raises(ValueError, match="Corruptions must be all, names among"):
        Corruptions.of(chosen)


def test_a_close_name_is_told() -> None:
    with pytest.raises(ValueError, match="Did you mean jpeg_compression?"):
        Corruptions.of("jpeg_compresion")


def test_a_baseline_has_one_error_or_five(tmp_path: Path) -> None:
    path = tmp_path / "alexnet.json"
    path.write_text(json.dumps(ERRORS | {"fog": [0.1, 0.2, 0.3, 0.4, 0.5]}))
    found = Corruptions.of("fog,snow", path).baseline
    assert found == pytest.approx({"snow": 0.8, "fog": 0.3})
    assert Corruptions.of("all", ERRORS).baseline == ERRORS


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"fog": 0.5}, "Missing: snow. Unknown: none"),
        (ERRORS | {"rain": 0.5}, "Missing: none. Unknown: rain"),
        (ERRORS | {"fog": 81.9}, "such as 0.886 for 88.6 %"),
        (ERRORS | {"fog": 0}, r"one error of fog or 5.*Received: 0"),
        (ERRORS | {"fog": [0.5, 0.6]}, r"Received: \[0.5, 0.6\]"),
        (ERRORS | {"fog": "0.5"}, "Received: '0.5'"),
        ([0.5], "an object of type list"),
    ],
)
def test_a_baseline_that_is_none(content: Any, told: str, tmp_path: Path) -> None:
    path = tmp_path / "alexnet.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=told) as error:
        Corruptions.of("snow,fog", path)
    assert str(path) in str(error.value)


def test_a_baseline_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "alexnet.json"
    with pytest.raises(ValueError, match="Expected a JSON file with the errors"):
        Corruptions.of("fog", path)
    path.write_text("{")
    with pytest.raises(ValueError, match="Expected a JSON file with the errors"):
        Corruptions.of("fog", path)
