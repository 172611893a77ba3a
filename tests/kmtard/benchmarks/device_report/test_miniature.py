"""The whole report in miniature, on each backend that is used with GPUs."""

import json
import math
import os
import subprocess
import sys

import pytest

from kmtard.benchmarks.device_report import PARTS
from kmtard.benchmarks.device_report.scale import FULL, MINIATURE
from kmtard.commands import benchmark as command

pytestmark = pytest.mark.once("torch")


# GPU machines often lack these packages. Python imports this file at its start.
BLOCKER = """
import sys
from importlib.machinery import PathFinder

class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] not in BLOCKED:
            return super().find_spec(name, path, target)

BLOCKED = ("tensorflow", "tensorflow_datasets", "textual", "matplotlib")
sys.meta_path[:] = [Finder if each is PathFinder else each for each in sys.meta_path]
"""


@pytest.fixture(scope="module", params=["jax", "torch"])
def document(request, tmp_path_factory):
    """A report; what does not depend on the backend, on the one that is faster."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "sitecustomize.py").write_text(BLOCKER)
    path = folder / "report.json"
    elsewhere = {"jax": "golden", "torch": "rival"}[request.param]
    parts = [name for name in PARTS if name != elsewhere]
    options = [f"--parts={','.join(parts)}", f"--backend={request.param}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        code = command.main([f"--device-report={path}", "--minutes=8", *options])
    document = json.loads(path.read_text())
    assert code == 0, document["parts"]
    assert {part["state"] for part in document["parts"].values()} == {"done"}
    assert list(document["parts"]) == parts
    return document


def rows(document, part, case=None):
    found = document["parts"][part]["rows"]
    return [row for row in found if case is None or row["case"] == case]


def test_head(document):
    assert document["schema"] == 1
    assert document["miniature"] is True, "there is no accelerator here"
    assert document["finished"] is True


def test_device(document):
    (devices,) = rows(document, "device", "devices")
    assert devices["devices"]
    (versions,) = rows(document, "device", "versions")
    assert {"keras", "numpy", document["backend"]} <= versions["versions"].keys()


def test_it_ran_without_tensorflow(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(BLOCKER)
    process = subprocess.run(
        [sys.executable, "-c", "import tensorflow"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert "ModuleNotFoundError: No module named 'tensorflow'" in process.stderr


def test_golden(document):
    if document["backend"] == "torch":
        (row,) = rows(document, "golden")
        assert row["passed"] > 0
        assert row["failed"] == 0


def test_step(document):
    steps = rows(document, "step", "step")
    assert [row["precision"] for row in steps] == [c.precision for c in MINIATURE.cases]
    assert [row["attack"] for row in steps] == ["looped", "unrolled"]
    peaks = {
        row["precision"]: row["flops_per_second"]
        for row in rows(document, "step", "matmul")
    }
    for row in steps:
        speed = row["flops"] / row["step_seconds"]
        assert math.isclose(row["utilization"], speed / peaks[row["precision"]])
        assert math.isclose(row["images_per_second"], 4 / row["step_seconds"])
        assert row["peak_memory_mib"] is None, "a CPU has no memory of its own"


def test_rival(document):
    if document["backend"] != "jax":
        return
    (row,) = rows(document, "rival")
    assert row["seconds"].keys() == {"ours", "eager", "compiled"}
    assert min(row["seconds"].values()) > 0
    # One round: its ratio is that of the medians.
    ratio = row["seconds"]["ours"] / row["seconds"]["compiled"]
    assert math.isclose(row["ratio_to_compiled"], ratio)


def test_program(document):
    (row,) = rows(document, "program")
    if document["backend"] == "jax":
        assert row["compiled"]
        assert row["stays_on_device"]
        assert row["within_tolerance"]
        assert row["loops_of_unknown_length"] == 0
    else:
        assert not row["compiled"]
        assert "flops" not in row


def test_autoattack(document):
    found = rows(document, "autoattack")
    names = ["apgd-ce", "apgd-t", "fab-t", "square", "autoattack"]
    assert [row["case"] for row in found] == names
    *parts, whole = (1 / row["images_per_second"] for row in found)
    assert math.isclose(sum(parts), whole)


def test_full_report_is_what_was_promised():
    shares = sum(PARTS.values())
    assert shares == 240, "seconds: four minutes"
    resnet = [c for c in FULL.cases if c.teacher == "resnet18" and c.batch_size == 128]
    assert {(c.precision, c.unroll) for c in resnet} == {
        (precision, unroll)
        for precision in ("float32", "tf32", "mixed_bfloat16")
        for unroll in (False, True)
    }
    others = [case for case in FULL.cases if case not in resnet]
    assert {case.precision for case in others} == {"mixed_bfloat16"}
    assert {(c.teacher, c.batch_size) for c in others} == {
        ("wide_resnet_34_10", 128),
        ("resnet18", 512),
    }
    assert FULL.rivals[0].precision == "mixed_bfloat16", "the goal comes first"
