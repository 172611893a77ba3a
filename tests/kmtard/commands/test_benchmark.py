"""The benchmark measures and prints its table."""

import json

import pytest

from kmtard import benchmark

pytestmark = pytest.mark.once("torch")

ARGUMENTS = ["--repeats=1", "--steps=1", "--batch-size=4"]


def test_json_and_table(tmp_path, capsys):
    path = tmp_path / "times.json"
    settings = [*ARGUMENTS, "--net=digits", "--jit=no", "--unroll=no"]
    assert benchmark.main([*settings, f"--json={path}"]) == 0
    (result,) = json.loads(path.read_text())
    floor = sum(result["passes_seconds"].values())
    assert result["ratio"] == result["step_seconds"] / floor
    assert result["images_per_second"] == 4 / result["step_seconds"]
    assert result["first_step_seconds"] > 0
    assert result["peak_memory_mib"] > 50
    assert "digits" in capsys.readouterr().out


def test_batches_of_the_data_pipeline(tmp_path, capsys):
    path = tmp_path / "times.json"
    assert benchmark.main([*ARGUMENTS, "--net=data", f"--json={path}"]) == 0
    (result,) = json.loads(path.read_text())
    assert result["net"] == "data"
    assert result["batch_size"] == 4
    assert result["images_per_second"] == 4 / result["step_seconds"]
    shown = capsys.readouterr().out
    assert "data" in shown
    assert "digits" not in shown
