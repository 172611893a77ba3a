"""The benchmark measures and prints what it promises."""

import json

from kmtard import benchmark

ARGUMENTS = ["--net=digits", "--repeats=1", "--steps=1", "--batch-size=4", "--jit=no"]


def test_json_and_table(tmp_path, capsys):
    path = tmp_path / "times.json"
    assert benchmark.main([*ARGUMENTS, f"--json={path}"]) == 0
    (result,) = json.loads(path.read_text())
    floor = sum(result["passes_seconds"].values())
    assert result["ratio"] == result["step_seconds"] / floor
    assert result["images_per_second"] == 4 / result["step_seconds"]
    assert result["first_step_seconds"] > 0
    assert result["peak_memory_mib"] > 50
    assert "digits" in capsys.readouterr().out
