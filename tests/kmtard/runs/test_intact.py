"""Checksums: changed files are refused, and files without a checksum are read."""

from __future__ import annotations

import zipfile
from pathlib import Path

import h5py
import pytest

from kmtard.runs import EventWriter, Run, RunError
from kmtard.runs.events import EventReader
from kmtard.runs.intact import (
    check_intact,
    is_recipe_whole,
    seal_weights,
    sealed,
    sealed_recipe,
    sha256_of,
    unsealed,
)

pytestmark = pytest.mark.once("torch")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "a.weights.h5"
    with h5py.File(path, "w") as file:
        file["layer"] = [1.0, 2.0, 3.0]
    return path


def test_sealed_weights_are_read_as_before(weights: Path) -> None:
    check_intact(weights, "")
    seal_weights(weights)
    check_intact(weights, "")
    with h5py.File(weights) as file:
        assert file["layer"][()].tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("place", [9, -200, -1])
def test_a_flipped_bit_of_sealed_weights_is_found(weights: Path, place: int) -> None:
    seal_weights(weights)
    content = bytearray(weights.read_bytes())
    content[place] ^= 4
    weights.write_bytes(content)
    with pytest.raises(RunError, match=r"a\.weights\.h5: it is damaged.*Restore it\."):
        check_intact(weights, "Restore it.")


def test_a_flipped_bit_of_a_saved_model_is_found(tmp_path: Path) -> None:
    path = tmp_path / "student.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.weights.h5", b"\0" * 1000)
    check_intact(path, "")
    content = bytearray(path.read_bytes())
    content[500] ^= 1
    path.write_bytes(content)
    with pytest.raises(RunError, match="wrong checksum of model.weights.h5"):
        check_intact(path, "")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.weights.h5").touch()
    (tmp_path / "folder.keras").mkdir()
    for name, reason in {
        "none.keras": "No such file",
        "folder.keras": "it is a folder",
        "empty.weights.h5": "it is empty",
    }.items():
        with pytest.raises(RunError, match=reason):
            check_intact(tmp_path / name, "")


def test_a_document_comes_back_without_its_checksum() -> None:
    document = {"a": [1, 2.5, None], "ü": {"b": True}}
    assert unsealed(sealed(document)) == document
    assert unsealed(document) == document
    with pytest.raises(ValueError, match="checksum crc32 is wrong"):
        unsealed({**sealed(document), "a": [1, 2.25, None]})
    with pytest.raises(ValueError, match="expected a JSON object"):
        unsealed([])


def test_a_recipe_may_lose_its_checksum_but_not_change_under_it() -> None:
    text = sealed_recipe("[method]\nname = 'ard'")
    assert is_recipe_whole(text.encode())
    assert not is_recipe_whole(text.replace("ard", "iad").encode())
    assert is_recipe_whole(b"[method]\nname = 'iad'\n")


def test_an_event_that_was_changed_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for value in (0.25, 0.5):
        EventWriter(path).write("epoch", metrics={"clean_accuracy": value})
    path.write_text(path.read_text().replace("0.25", "0.75"))
    reader = EventReader(path)
    assert [event["metrics"] for event in reader.poll()] == [{"clean_accuracy": 0.5}]
    assert reader.skipped == 1
    # As earlier versions and others write them.
    path.write_text('{"event": "epoch", "time": 1}\n')
    assert reader.read_all() == [{"event": "epoch", "time": 1}]


def test_a_run_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "a", "", {})
    Run.open(run.path)
    content = run.info_path.read_text().replace('"schema": 1', '"schema": 2')
    run.info_path.write_text(content.replace('"crc32"', '"other"'))
    with pytest.raises(RunError, match="schema 2.*update kmtard"):
        Run.open(run.path)


def test_a_run_whose_recipe_was_damaged_is_refused(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "a", "[runtime]\nseed = 1\n", {})
    text = run.recipe_path.read_text()
    run.recipe_path.write_text(text.replace("1", "3", 1))
    with pytest.raises(RunError, match="was damaged or changed after the run started"):
        Run.open(run.path)
    run.recipe_path.write_text(text.partition("#")[0].replace("1", "3", 1))
    Run.open(run.path)


def test_the_hash_of_a_file_is_its_sha256(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    # The first test value of the standard, FIPS 180-2.
    wanted = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of(path) == wanted
