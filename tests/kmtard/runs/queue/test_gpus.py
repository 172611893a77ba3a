"""Which GPUs there are, and which of them a command of the queue gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmtard.runs.queue.gpus import environment_of, least_used, visible_gpus
from kmtard.runs.queue.queue import Queue
from kmtard.runs.queue.runner import Runner
from tests.launcher.engine_fixtures import program, programs, until

pytestmark = pytest.mark.once("jax")

__all__ = ["programs"]

NVIDIA_SMI = """#!/bin/sh
test "$*" = "--query-gpu=index --format=csv,noheader" && printf '0\\n1\\n'
"""


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that reports two GPUs."""
    path = tmp_path / "bin" / "nvidia-smi"
    path.parent.mkdir()
    path.write_text(NVIDIA_SMI)
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(path.parent), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_the_driver_is_asked(two_gpus: None) -> None:
    assert visible_gpus() == ["0", "1"]
    assert environment_of("1") == {
        "CUDA_VISIBLE_DEVICES": "1",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    }


def test_what_the_user_chose_counts(
    two_gpus: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-3a, GPU-5b")
    assert visible_gpus() == ["GPU-3a", "GPU-5b"]
    assert environment_of("GPU-5b") == {"CUDA_VISIBLE_DEVICES": "GPU-5b"}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []


def test_without_a_driver_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible_gpus() == []
    assert environment_of(None) == {}


@pytest.mark.parametrize(
    ("gpus", "used", "chosen"),
    [
        ([], [], None),
        (["0"], ["0"], None),
        (["0", "1"], [], "0"),
        (["0", "1"], ["0", None], "1"),
        (["0", "1"], ["0", "1", "1"], "0"),
    ],
)
def test_the_least_used_is_chosen(
    gpus: list[str], used: list[str | None], chosen: str | None
) -> None:
    assert least_used(gpus, used) == chosen


def test_commands_get_one_gpu_each(
    two_gpus: None, tmp_path: Path, programs: None
) -> None:
    queue = Queue(tmp_path / "runs")
    queue.limit = 2
    code = "import os, time; print(os.environ['CUDA_VISIBLE_DEVICES']); time.sleep(1)"
    entries = [queue.add(program(tmp_path, code), name, "") for name in "ab"]
    runner = Runner(queue)
    runner.step()
    assert [entry.gpu for entry in queue.entries()] == ["0", "1"]
    until(lambda: not runner.step())
    assert [entry.log.read_text() for entry in entries] == ["0\n", "1\n"]
